# SPDX-License-Identifier: Apache-2.0
"""Extrapolation to infinite width: exact on its own laws, and its intervals cover what they say."""

import math

import numpy as np
import pytest
from scipy import stats

from infwidth.stats.extrapolation import Model, all_models, extrapolate, fit_model

WIDTHS = [16, 32, 64, 256, 512, 1024]
EXPONENTS = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def law(limit, *terms, widths=WIDTHS):
    return limit + sum(a * np.asarray(widths, float) ** -b for a, b in terms)


@pytest.mark.parametrize("a", [0.5, -0.5])
def test_a_law_of_the_family_is_found_without_error(a):
    seeds_SxW = law(1.4, (a, 0.7)) + np.arange(3)[:, None]
    limit = extrapolate(WIDTHS, seeds_SxW, EXPONENTS)
    right = [fit for fit in limit.fits if fit.model.exponents == (0.7,)]
    assert len(right) == 3
    for fit in right:
        np.testing.assert_allclose(fit.limit_S, 1.4 + np.arange(3), rtol=1e-12)
        np.testing.assert_allclose(fit.mean_at([16, math.inf]), [2.4 + a * 16**-0.7, 2.4])


def test_a_law_of_two_powers_is_found_by_the_model_of_both():
    values_SxW = law(0.2, (0.4, 0.5), (-0.9, 1.0))[None, :]
    (fit,) = [
        f for f in extrapolate(WIDTHS, values_SxW, EXPONENTS).fits if len(f.model.exponents) == 2
    ]
    np.testing.assert_allclose(fit.coefficients_SxK, [[0.2, 0.4, -0.9]], rtol=1e-9)


def test_a_fit_is_numpys_least_squares():
    y_SxW = np.random.default_rng(0).normal(size=(4, 6))
    fit = fit_model(Model((0.6,), 1), WIDTHS, y_SxW)
    H = np.array(WIDTHS[1:], float)
    for s in range(4):
        slope, intercept = np.polyfit(H**-0.6, y_SxW[s, 1:], 1)
        np.testing.assert_allclose(fit.coefficients_SxK[s], [intercept, slope], rtol=1e-9)


def test_every_model_has_a_width_more_than_unknowns():
    assert {(m.skipped, len(m.exponents)) for m in all_models(6, EXPONENTS)} == {
        (0, 1),
        (1, 1),
        (2, 1),
        (0, 2),
    }
    assert {m.skipped for m in all_models(4, EXPONENTS)} == {0, 1}
    assert {len(m.exponents) for m in all_models(3, EXPONENTS)} == {1}
    assert all_models(2, EXPONENTS) == []
    assert len(all_models(6, [0.7])) == 3


def _coverage(y_RxSxW, limit, confidence=0.95):
    """Shares of repetitions: covered by each model, and by their union; rejected by misfit."""
    R, S, W = y_RxSxW.shape
    ends = []
    for model in all_models(W, EXPONENTS):
        limit_RxS = fit_model(model, WIDTHS, y_RxSxW.reshape(R * S, W)).limit_S.reshape(R, S)
        half_R = stats.sem(limit_RxS, axis=1) * stats.t.ppf((1 + confidence) / 2, S - 1)
        mean_R = limit_RxS.mean(axis=1)
        ends.append((model, mean_R - half_R, mean_R + half_R))
    single = {model: float(np.mean((low <= limit) & (limit <= high))) for model, low, high in ends}
    lowest = np.min([low for _, low, _ in ends], axis=0)
    highest = np.max([high for _, _, high in ends], axis=0)
    return single, float(np.mean((lowest <= limit) & (limit <= highest)))


def _draws(truth_W, repetitions, seeds, rng):
    """Seeds that share an offset and a slope over widths, as paired runs do, and noise."""
    shape = (repetitions, seeds, 1)
    shared = rng.normal(0, 0.02, shape) + rng.normal(0, 0.06, shape) * law(0, (1, 0.5))
    return truth_W + shared + rng.normal(0, 0.015, (repetitions, seeds, truth_W.size))


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    "terms", [((0.5, 0.5),), ((-0.8, 0.7),), ((1.0, 1.0),), ((0.4, 0.5), (-0.9, 1.0))]
)
def test_the_union_over_models_covers_and_the_right_model_covers_as_it_says(terms, seeds):
    rng = np.random.default_rng(seeds)
    y_RxSxW = _draws(law(0.1, *terms), 4000, seeds, rng)
    single, union = _coverage(y_RxSxW, 0.1)
    # 4 standard errors of a share of 4,000.
    error = 4 * math.sqrt(0.95 * 0.05 / 4000)
    right = tuple(b for _, b in terms)
    shares = [share for model, share in single.items() if model.exponents == right]
    assert shares
    assert max(abs(share - 0.95) for share in shares) < error
    assert union > 0.95


def test_the_misfit_rejects_as_often_as_it_says_and_sees_a_law_that_is_not_there():
    rng = np.random.default_rng(0)
    model = Model((0.7,), 0)

    def rejected(truth_W, noise):
        y_RxSxW = truth_W + rng.normal(0, noise, (1000, 5, 6)) + rng.normal(0, 1, (1000, 5, 1))
        return np.mean([fit_model(model, WIDTHS, y).p_misfit < 0.05 for y in y_RxSxW])

    assert abs(rejected(law(0, (0.5, 0.7)), 0.01) - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 1000)
    assert rejected(0.05 * np.log(WIDTHS), 0.01) > 0.99


def test_what_is_reported_spans_all_models_and_says_which_the_data_reject():
    rng = np.random.default_rng(3)
    y_SxW = law(0.3, (-0.9, 0.5)) + rng.normal(0, 0.004, (5, 6))
    limit = extrapolate(WIDTHS, y_SxW, EXPONENTS)
    effect, whole = limit.effect("H → ∞"), limit.interval(0.95)
    single = [fit.effect("").interval(0.95) for fit in limit.fits]
    assert whole.lower == min(i.lower for i in single) == effect.interval(0.95).lower
    assert whole.upper == max(i.upper for i in single) == effect.interval(0.95).upper
    assert effect.p_above(0.0) == max(fit.effect("").p_above(0.0) for fit in limit.fits)
    kept = limit.fitting(0.95)
    assert 0 < len(kept) < len(limit.fits)
    part = limit.fitting_interval(0.95)
    assert whole.lower < part.lower < 0.3 < part.upper <= whole.upper
    assert limit.best in kept


def test_seeds_that_lack_a_width_are_left_out_and_counted():
    y_SxW = np.tile(law(0.3, (0.5, 0.5)), (4, 1)) + np.arange(4)[:, None]
    y_SxW[2, 1] = math.nan
    limit = extrapolate(WIDTHS, y_SxW, EXPONENTS)
    assert (len(limit.values_SxW), limit.lost) == (3, 1)
    assert math.isnan(limit.effect("").p_above(0))
    assert math.isfinite(limit.interval(0.95).lower)


def test_nothing_is_said_without_a_model_and_no_interval_for_one_seed():
    nothing = extrapolate([4, 8], [[1.0, 2.0]], EXPONENTS)
    assert nothing.fits == []
    assert math.isnan(nothing.interval(0.95).estimate)
    assert extrapolate(WIDTHS, [[math.nan] * 6], EXPONENTS).fits == []
    one = extrapolate(WIDTHS, [law(0.3, (0.5, 0.5))], EXPONENTS)
    assert math.isnan(one.interval(0.95).lower)
    assert one.fitting(0.95) == one.fits
    assert one.best is one.fits[0]


def test_a_model_is_named_with_the_widths_that_it_uses():
    assert Model((0.5,), 0).describe(WIDTHS) == "b = 0.5"
    assert Model((0.5,), 2).describe(WIDTHS) == "b = 0.5, from H = 64"
    assert Model((0.5, 1.0), 0).describe(WIDTHS) == "b = 0.5 and 1"
