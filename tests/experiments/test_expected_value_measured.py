# SPDX-License-Identifier: Apache-2.0
"""Legend: R inits, K outputs, W widths."""

import itertools
import math

import numpy as np
import pytest

from infwidth.experiments.expected_value import measured as expected_value
from infwidth.experiments.expected_value.measured import (
    bias_slope,
    critical_z,
    interval_of,
    pair_estimate,
    squares_and_products,
)
from tests.experiments.expected_value_synthetic import Truth, write


def differences(rng, R, bias, sd=1.0):
    return np.asarray(bias) + sd * rng.normal(size=(R, len(bias)))


def estimate(d_RxK):
    return pair_estimate(*squares_and_products(d_RxK))


def test_it_is_the_mean_over_pairs_with_the_jackknifes_error():
    d_RxK = differences(np.random.default_rng(0), 6, [0.3, -0.1, 0.0])

    def over_pairs(rows):
        return np.mean([np.mean(a * b) for a, b in itertools.permutations(rows, 2)])

    without_R = [over_pairs(np.delete(d_RxK, r, axis=0)) for r in range(6)]
    error = math.sqrt(5 * np.var(without_R))
    assert estimate(d_RxK) == pytest.approx((over_pairs(d_RxK), error), rel=1e-12)


def test_its_expectation_is_the_squared_bias_where_the_norm_of_the_mean_shows_noise():
    rng = np.random.default_rng(1)
    bias_K = np.array([0.2, 0.0, -0.1])
    draws = [differences(rng, 10, bias_K) for _ in range(4000)]
    estimates = np.array([estimate(d_RxK)[0] for d_RxK in draws])
    norms = np.array([np.square(d_RxK.mean(axis=0)).mean() for d_RxK in draws])
    square = np.square(bias_K).mean()
    # Four standard errors of the mean of 4,000.
    assert estimates.mean() == pytest.approx(square, abs=4 * estimates.std() / math.sqrt(4000))
    assert norms.mean() == pytest.approx(square + 1 / 10, rel=0.05)


@pytest.mark.parametrize("K", [1, 5, 100])
def test_without_a_bias_it_is_seldom_resolved(K):
    # One of 40 intervals of 95% may lie above 0; 60 of 1,500 are 3.7 standard errors more.
    rng = np.random.default_rng(K)
    resolved = 0
    for _ in range(1500):
        interval = interval_of(*estimate(differences(rng, 60, np.zeros(K))), 60, 0.95)
        resolved += interval.lower > 0
    assert resolved <= 60


def test_with_a_bias_its_interval_covers_it():
    # The jackknife's error is right where the bias dominates: 95%, within 4 standard errors.
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(800):
        interval = interval_of(*estimate(differences(rng, 50, np.full(4, 0.5))), 50, 0.95)
        covered += interval.lower < 0.25 < interval.upper
    assert covered / 800 == pytest.approx(0.95, abs=0.031)


def test_pairs_need_three_inits():
    with pytest.raises(ValueError, match="need 3 inits; got 2"):
        pair_estimate(np.ones(2), np.ones(2))


def test_the_slope_of_an_exact_power_is_found():
    width_W = np.array([32, 64, 128, 256])
    square_W = 7.0 * width_W**-2.0
    slope = bias_slope(width_W, square_W, 0.1 * square_W, 0.95)
    assert slope.estimate == pytest.approx(-1, abs=1e-6)
    assert slope.lower < -1 < slope.upper
    # By hand: sd of the slope of log squares is 0.1 / √Σ(log H − mean)², and p is half of it.
    spread = np.square(np.log(width_W) - np.log(width_W).mean()).sum()
    assert slope.half_width == pytest.approx(1.96 * 0.1 / math.sqrt(spread) / 2, rel=0.03)


def test_at_the_ends_of_the_slopes_interval_chi_square_has_risen_by_its_quantile():
    width_W, square_W = np.array([8, 16, 32, 64]), np.array([0.02, 0.004, 0.0013, -0.0002])
    error_W = np.array([2e-3, 1e-3, 5e-4, 4e-4])
    slope = bias_slope(width_W, square_W, error_W, 0.95)

    def misfit(p):
        shape_Wx1 = (width_W ** (2 * p) / error_W)[:, None]
        return float(np.linalg.lstsq(shape_Wx1, square_W / error_W, rcond=None)[1][0])

    for end in (slope.lower, slope.upper):
        assert misfit(end) - misfit(slope.estimate) == pytest.approx(1.959963984540054**2, rel=1e-6)
    assert misfit(slope.estimate) < min(
        misfit(slope.estimate - 1e-4), misfit(slope.estimate + 1e-4)
    )


def test_the_slopes_interval_covers_it_also_with_estimates_below_zero():
    rng = np.random.default_rng(5)
    width_W, error_W = np.array([8, 16, 32, 64, 128]), np.full(5, 2e-3)
    covered = negative = 0
    for _ in range(400):
        square_W = width_W**-2.0 + error_W * rng.normal(size=5)
        slope = bias_slope(width_W, square_W, error_W, 0.95)
        covered += slope.lower <= -1 <= slope.upper
        negative += (square_W < 0).any()
    assert negative > 100
    assert covered / 400 == pytest.approx(0.95, abs=0.044)  # 4 standard errors


def test_a_slope_that_the_widths_do_not_bound_is_open():
    assert math.isnan(bias_slope([8], [0.1], [0.01], 0.95).estimate)
    slope = bias_slope([8, 16], [0.01, 0.0], [0.01, 0.01], 0.95)
    assert slope.lower == -math.inf
    assert slope.upper == math.inf


def test_the_limit_of_z_is_bonferronis():
    assert critical_z(10**9, 1, 0.95) == pytest.approx(1.959964, abs=1e-5)
    assert critical_z(10**9, 5, 0.95) == pytest.approx(critical_z(10**9, 1, 0.99), abs=1e-9)
    assert critical_z(4, 1, 0.95) == pytest.approx(3.182446, abs=1e-5)


def test_an_unbiased_fixed_half_is_called_so_and_a_biased_one_is_not(tmp_path):
    cells = expected_value.load(write(tmp_path / "a", Truth())).fixed()
    assert [cell.width for cell in cells] == [1, 16, 256]
    assert all(cell.unbiased for cell in cells)
    biased = expected_value.load(write(tmp_path / "b", Truth(fixed_bias=0.2))).fixed()
    assert not any(cell.unbiased for cell in biased)
    for cell in cells:
        assert cell.single == pytest.approx(2 / math.sqrt(cell.width), rel=0.1)
        assert cell.noise == pytest.approx(cell.single / math.sqrt(cell.inits), rel=1e-9)


def test_the_trained_bias_is_relative_to_the_infinite_outputs(tmp_path):
    measured = expected_value.load(write(tmp_path, Truth()))
    for case in measured.cases:
        for cell in measured.trained(case):
            assert cell.resolved
            assert cell.bias.lower < 4 / cell.width < cell.bias.upper
        slope = measured.slope(case)
        assert slope.lower < -1 < slope.upper
