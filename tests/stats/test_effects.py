# SPDX-License-Identifier: Apache-2.0
"""Effects agree with the tests of the repeats that they summarise, and say nothing without one."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from infwidth.stats.effects import Effect, RatioEffect, ShareEffect, paired_effect

VALUES = np.array([0.03, 0.05, 0.01, 0.04])
TOP = np.array([0.030, 0.041, 0.036, 0.029, 0.044])
BOTTOM = np.array([0.055, 0.068, 0.052, 0.061, 0.070])


@pytest.mark.parametrize("bound", [-0.02, 0.0, 0.02, 0.05])
def test_p_values_and_intervals_are_those_of_the_t_test(bound):
    effect = Effect.of_repeats("H = 4", VALUES)
    above = stats.ttest_1samp(VALUES, bound, alternative="greater").pvalue
    assert effect.p_above(bound) == pytest.approx(above, rel=1e-12)
    assert effect.p_below(bound) == pytest.approx(1 - above, rel=1e-12)
    low, high = stats.ttest_1samp(VALUES, 0).confidence_interval(0.9)
    interval = effect.interval(0.9)
    assert (interval.lower, interval.upper) == pytest.approx((low, high), rel=1e-12)


@pytest.mark.parametrize("values", [[], [0.1]])
def test_one_repeat_tells_nothing(values):
    effect = Effect.of_repeats("", values)
    assert math.isnan(effect.p_above(0))
    assert math.isnan(effect.interval(0.95).lower)


def test_a_lost_repeat_forbids_the_test_and_not_the_estimate():
    effect = paired_effect("", {1: 2.0, 2: 3.0, 3: 2.5}, {1: 1.0, 2: 1.5}, [1, 2, 3])
    assert (effect.estimate, effect.lost) == (1.25, 1)
    assert math.isnan(effect.p_above(0))


def test_what_is_exact_leaves_no_doubt():
    effect = Effect.exact("", 1.5)
    assert (effect.p_above(1.0), effect.p_above(1.5), effect.p_below(2.0)) == (0.0, 1.0, 0.0)
    assert effect.interval(0.95).lower == effect.interval(0.95).upper == 1.5


def test_repeats_that_are_all_equal_are_not_exact():
    effect = Effect.of_repeats("", [0.5, 0.5, 0.5])
    assert math.isnan(effect.p_above(0.0))
    assert math.isnan(effect.p_below(1.0))
    reading = replace(Effect.of_repeats("", VALUES), readings=(effect,))
    assert math.isnan(reading.p_above(0.0))


def test_a_share_is_tested_by_the_binomial_law():
    """Of 20 trials all found it, which a share of 0.9 would give in 12% of all cases."""
    effect = ShareEffect.of_trials("", [True] * 20)
    assert effect.p_above(0.9) == pytest.approx(0.9**20)
    assert (effect.estimate, effect.p_below(0.9)) == (1.0, 1.0)
    assert effect.interval(0.95).lower == pytest.approx(0.025 ** (1 / 20))
    assert ShareEffect.of_trials("", [False] * 20).p_below(0.9) == pytest.approx(0.1**20)
    assert math.isnan(ShareEffect.of_trials("", []).p_above(0.5))


def test_with_other_readings_what_is_said_holds_for_all_of_them():
    readings = [Effect.of_repeats("", VALUES + shift) for shift in (0.0, -0.02, 0.01)]
    effect = replace(readings[0], readings=tuple(readings))
    assert effect.estimate == readings[0].estimate
    for bound in (-0.02, 0.0, 0.03):
        assert effect.p_above(bound) == readings[1].p_above(bound)
        assert effect.p_below(bound) == readings[2].p_below(bound)
    interval = effect.interval(0.9)
    assert interval.lower == readings[1].interval(0.9).lower
    assert interval.upper == readings[2].interval(0.9).upper


def test_one_reading_without_an_error_leaves_no_test():
    lost = Effect.of_repeats("", [0.02])
    effect = replace(Effect.of_repeats("", VALUES), readings=(lost,))
    assert math.isnan(effect.p_above(0))
    assert math.isnan(effect.p_below(0))
    assert math.isnan(effect.interval(0.95).lower)


def closed(top, bottom, confidence=0.95):
    """The share of a gap, and the test of whether more than half is closed."""
    return RatioEffect.of_pairs("", top, bottom, 0).closed(confidence, 0.5)


def test_the_ends_of_a_ratio_are_those_that_the_t_test_just_rejects():
    found = closed(TOP, BOTTOM)
    assert found.defined
    assert found.estimate == pytest.approx(TOP.mean() / BOTTOM.mean(), rel=1e-12)
    for end in (found.lower, found.upper):
        # the roots of a quadratic: a few digits are lost in its discriminant
        assert stats.ttest_1samp(TOP - end * BOTTOM, 0).pvalue == pytest.approx(0.05, rel=1e-6)


def test_coverage_of_a_ratio_by_simulation():
    generator = np.random.default_rng(0)
    trials, count, truth = 3_000, 5, 0.7
    hits = 0
    for _ in range(trials):
        shared = generator.normal(0, 0.004, count)
        bottom = 0.05 + shared + generator.normal(0, 0.003, count)
        top = truth * 0.05 + shared + generator.normal(0, 0.003, count)
        found = closed(top, bottom, 0.9)
        hits += not found.defined or found.lower <= truth <= found.upper
    # four standard errors of a proportion of 0.9 over 3,000 trials
    assert hits / trials == pytest.approx(0.9, abs=0.022)


def test_a_ratio_is_undefined_exactly_when_the_gap_may_be_zero():
    for shift in np.linspace(-0.1, 0.0, 11):
        bottom = BOTTOM + shift
        excluded = stats.ttest_1samp(bottom, 0).pvalue < 0.05
        found = closed(TOP, bottom)
        assert found.defined == excluded
        assert math.isnan(found.lower) != excluded


def test_the_stated_fraction_is_tested_without_a_ratio():
    found = closed(TOP, BOTTOM - BOTTOM.mean())
    expected = stats.ttest_1samp(
        TOP - 0.5 * (BOTTOM - BOTTOM.mean()), 0, alternative="greater"
    ).pvalue
    assert not found.defined
    assert found.p_more_than_fraction == pytest.approx(expected, rel=1e-9)


def test_a_ratio_of_one_seed_or_none_is_undefined():
    one = closed([0.03], [0.06])
    assert one.estimate == pytest.approx(0.5)
    assert not one.defined
    assert math.isnan(closed([], []).estimate)
