# SPDX-License-Identifier: Apache-2.0
"""support_report: planted gaps are found and named, total support is not accused.

Shapes: H features, N inputs of dimension D, d = D + 1 with the appended constant.
"""

import math

import numpy as np
import pytest
from scipy import special
from scipy.optimize import linprog

from infwidth.kernels.support import effective_rank, one_sided, support_report

H, N = 200, 200
FAST = {"draws": 19, "level": 0.05}


def sample(D, seed, H=H):
    rng = np.random.default_rng(seed)
    return rng, rng.normal(size=(N, D)), rng.normal(size=(H, D + 1))


def without(omega_Hxd, direction_D):
    """Features that do not see a direction of the inputs."""
    unseen_d = np.append(direction_D / np.linalg.norm(direction_D), 0.0)
    return omega_Hxd - np.outer(omega_Hxd @ unseen_d, unseen_d)


def in_cone(omega_Hxd, half_angle):
    """Features within an angle of the first input's coordinate, of the same lengths."""
    across_Hxd = omega_Hxd * (np.arange(omega_Hxd.shape[1]) > 0)
    across_Hxd /= np.linalg.norm(across_Hxd, axis=1, keepdims=True)
    angle_H = math.radians(half_angle) * special.ndtr(omega_Hxd[:, :1])
    along_Hxd = np.eye(omega_Hxd.shape[1])[:1] * np.cos(angle_H) + np.sin(angle_H) * across_Hxd
    return np.linalg.norm(omega_Hxd, axis=1, keepdims=True) * along_Hxd


def quantised(omega_Hxd, levels):
    values_L = np.linspace(-2, 2, levels)
    return values_L[np.abs(omega_Hxd[:, :, None] - values_L).argmin(axis=2)]


@pytest.mark.parametrize(("D", "seed"), [(2, 0), (8, 1), (40, 2)])
def test_a_subspace_is_found_and_the_direction_is_exact(D, seed):
    rng, x_NxD, omega_Hxd = sample(D, seed)
    unseen_D = rng.normal(size=D)
    report = support_report(
        without(omega_Hxd, unseen_D), x_NxD, bias=math.sqrt(D) / 2, seed=seed, **FAST
    )
    assert report.missing
    assert (report.rank, report.full_rank) == (D, D + 1)
    assert abs(report.direction_D @ unseen_D) / np.linalg.norm(unseen_D) > 1 - 1e-9
    assert report.offset == pytest.approx(0, abs=1e-6)
    assert f"span {D} of the inputs' {D + 1} dimensions" in str(report)


@pytest.mark.parametrize(("D", "seed"), [(1, 0), (4, 1)])
def test_a_cone_is_found_and_what_looks_the_other_way_is_named(D, seed):
    _, x_NxD, omega_Hxd = sample(D, seed)
    bias = math.sqrt(D) / 2
    report = support_report(in_cone(omega_Hxd, 30), x_NxD, bias=bias, seed=seed, **FAST)
    assert report.missing
    assert report.one_sided
    nu_d = np.append(report.direction_D, -report.offset / bias)
    # Further than a right angle from the cone's axis: it is active where no feature is.
    assert nu_d[0] / np.linalg.norm(nu_d) < 0
    assert report.share > 0.5
    assert "a cone" in str(report)


def test_a_cone_of_analytic_features_leaves_nothing_out_where_one_of_relu_does():
    _, x_NxD, omega_Hxd = sample(1, 0)
    omega_Hxd = in_cone(omega_Hxd, 45)
    analytic = support_report(omega_Hxd, x_NxD, activation=special.erf, bias=0.5, **FAST)
    assert analytic.one_sided
    assert not analytic.missing
    assert support_report(omega_Hxd, x_NxD, bias=0.5, **FAST).missing


@pytest.mark.parametrize("seed", range(2))
def test_few_atoms_are_found_and_counted(seed):
    rng, x_NxD, omega_Hxd = sample(2, seed)
    report = support_report(omega_Hxd[rng.integers(0, 6, H)], x_NxD, bias=0.7, seed=seed, **FAST)
    assert report.missing
    assert report.distinct == 6
    assert "Wider than 6 adds nothing" in str(report)


@pytest.mark.parametrize("seed", range(2))
def test_coarse_weights_are_found_and_fine_ones_suffice(seed):
    _, x_NxD, omega_Hxd = sample(1, seed)
    coarse, fine = (
        support_report(quantised(omega_Hxd, levels), x_NxD, bias=0.5, seed=seed, **FAST)
        for levels in (3, 17)
    )
    assert coarse.missing
    assert coarse.levels == 3
    assert "at most 3 values" in str(coarse)
    assert not fine.missing


def test_total_support_is_accused_as_often_as_the_level_says():
    # Without a tolerance the test is exact: of 60 reports at 10% more than 13 are seen in 0.4%.
    alarms = 0
    for seed in range(60):
        _, x_NxD, omega_Hxd = sample(2, seed, H=40)
        report = support_report(
            omega_Hxd, x_NxD[:64], bias=0.7, draws=9, level=0.1, tolerance=0.0, seed=seed
        )
        assert (report.rank, report.distinct, report.one_sided) == (3, 40, False)
        alarms += report.missing
    assert alarms <= 13


def test_the_share_is_the_variance_that_the_features_do_not_see():
    # Where x_1 > 0 and no constant is appended, features of x_1 alone are multiples of x_1.
    rng = np.random.default_rng(0)
    omega_Hxd = np.pad(rng.normal(size=(50, 1)), ((0, 0), (0, 1)))
    x_NxD = np.stack([np.abs(rng.normal(size=512)) + 1, rng.normal(size=512)], axis=1)
    report = support_report(omega_Hxd, x_NxD, **FAST)
    mean_square_1 = 1 + 1 + 2 * math.sqrt(2 / math.pi)
    mean_1 = 1 + math.sqrt(2 / math.pi)
    seen = mean_1**2 / (2 * math.pi) / mean_square_1  # of E relu(x_2)² = 1/2
    np.testing.assert_allclose(np.abs(report.direction_D), [0, 1], atol=1e-9)
    assert report.share == pytest.approx(1 - seen / 0.5, abs=0.06)


def test_the_size_of_omega_is_no_matter_to_relu():
    _, x_NxD, omega_Hxd = sample(2, 1)
    one, ten = (support_report(s * omega_Hxd, x_NxD, bias=0.7, **FAST) for s in (1.0, 10.0))
    assert ten.score == pytest.approx(one.score, rel=1e-6)
    assert ten.p_value == one.p_value


def test_it_is_a_function_of_its_arguments():
    _, x_NxD, omega_Hxd = sample(2, 1)
    reports = [
        str(support_report(omega_Hxd, x_NxD, bias=0.7, seed=seed, **FAST)) for seed in (0, 0, 1)
    ]
    assert reports[0] == reports[1] != reports[2]


def test_the_constant_direction_has_its_kink_nowhere():
    # Features without the constant: what is missing is the constant itself.
    _, x_NxD, omega_Hxd = sample(2, 0)
    omega_Hxd[:, 2] = 0
    report = support_report(omega_Hxd, x_NxD, bias=0.7, **FAST)
    assert report.missing
    assert not report.direction_D.any()
    assert math.isinf(report.offset)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_one_sidedness_is_that_of_a_linear_programme(d):
    rng = np.random.default_rng(d)
    found = []
    for _ in range(120):
        omega_Hxd = rng.normal(size=(5, d))
        # Is there a ν with ω_h·ν ≥ 1 for all h?
        separable = linprog(np.zeros(d), -omega_Hxd, -np.ones(5), bounds=(None, None)).status == 0
        assert one_sided(omega_Hxd, level=1.0) == separable
        assert not one_sided(omega_Hxd, level=1e-3)  # 5 may be so by chance
        found.append(separable)
    wendel = special.bdtr(d - 1, 4, 0.5)
    assert np.mean(found) == pytest.approx(wendel, abs=4 * math.sqrt(wendel / 120))


def test_effective_rank_counts_equal_sizes():
    assert effective_rank(np.array([2.0, 2.0, 2.0, 0.0])) == pytest.approx(3)
    assert effective_rank(np.array([3.0, 0.0])) == pytest.approx(1)


BAD = {
    "a vector": ({"omega": np.ones(3)}, "features are a matrix"),
    "the constant forgotten": ({"omega": np.ones((5, 2))}, "of the dimension 3"),
    "few inputs": ({"x": np.ones((8, 2))}, "needs 16 inputs"),
    "not finite": ({"omega": np.array([[1, 2, 3], [1, np.nan, 3]])}, "feature 1 holds a number"),
    "all zero": ({"omega": np.zeros((5, 3))}, "all features are 0"),
    "silent": ({"activation": np.zeros_like}, "drawn anew are 0"),
    "few draws": ({"draws": 9}, "level 0.01 needs 99 draws"),
    "no level": ({"level": 0.0}, "between 0 and 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_named(case):
    changed, message = BAD[case]
    _, x_NxD, omega_Hxd = sample(2, 0)
    arguments = {"omega": omega_Hxd, "x": x_NxD, "bias": 0.7} | changed
    with pytest.raises(ValueError, match=message):
        support_report(arguments.pop("omega"), arguments.pop("x"), **arguments)
