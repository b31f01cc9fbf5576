# SPDX-License-Identifier: Apache-2.0
"""Effects agree with the t test of the repeats that they summarise, and say nothing without one."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from infwidth.stats.effects import Effect, ShareEffect, paired_effect
from infwidth.stats.statistics import p_greater, p_less

VALUES = np.array([0.03, 0.05, 0.01, 0.04])


@pytest.mark.parametrize("bound", [-0.02, 0.0, 0.02, 0.05])
def test_p_values_are_those_of_the_t_test(bound):
    effect = Effect.of_repeats("H = 4", VALUES)
    assert effect.p_above(bound) == pytest.approx(p_greater(VALUES, bound), rel=1e-12)
    assert effect.p_below(bound) == pytest.approx(p_less(VALUES, bound), rel=1e-12)


def test_the_interval_is_scipys():
    low, high = stats.ttest_1samp(VALUES, 0).confidence_interval(0.9)
    interval = Effect.of_repeats("", VALUES).interval(0.9)
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
