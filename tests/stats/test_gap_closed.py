# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from scipy import stats

from infwidth.stats.gap_closed import gap_closed

TOP = np.array([0.030, 0.041, 0.036, 0.029, 0.044])
BOTTOM = np.array([0.055, 0.068, 0.052, 0.061, 0.070])


def test_the_ends_are_the_ratios_that_the_t_test_just_rejects():
    found = gap_closed(TOP, BOTTOM, 0.95, 0.5)
    assert found.defined
    assert found.estimate == pytest.approx(TOP.mean() / BOTTOM.mean(), rel=1e-12)
    for end in (found.lower, found.upper):
        # the roots of a quadratic: a few digits are lost in its discriminant
        assert stats.ttest_1samp(TOP - end * BOTTOM, 0).pvalue == pytest.approx(0.05, rel=1e-6)


def test_coverage_by_simulation():
    generator = np.random.default_rng(0)
    trials, count, truth = 3_000, 5, 0.7
    hits = 0
    for _ in range(trials):
        shared = generator.normal(0, 0.004, count)
        bottom = 0.05 + shared + generator.normal(0, 0.003, count)
        top = truth * 0.05 + shared + generator.normal(0, 0.003, count)
        found = gap_closed(top, bottom, 0.9, 0.5)
        hits += not found.defined or found.lower <= truth <= found.upper
    # four standard errors of a proportion of 0.9 over 3,000 trials
    assert hits / trials == pytest.approx(0.9, abs=0.022)


def test_undefined_exactly_when_the_gap_may_be_zero():
    for shift in np.linspace(-0.1, 0.0, 11):
        bottom = BOTTOM + shift
        excluded = stats.ttest_1samp(bottom, 0).pvalue < 0.05
        found = gap_closed(TOP, bottom, 0.95, 0.5)
        assert found.defined == excluded
        assert math.isnan(found.lower) != excluded


def test_the_stated_fraction_is_tested_without_a_ratio():
    found = gap_closed(TOP, BOTTOM - BOTTOM.mean(), 0.95, 0.5)
    expected = stats.ttest_1samp(
        TOP - 0.5 * (BOTTOM - BOTTOM.mean()), 0, alternative="greater"
    ).pvalue
    assert not found.defined
    assert found.p_more_than_fraction == pytest.approx(expected, rel=1e-9)


def test_one_seed_or_none_is_undefined():
    one = gap_closed([0.03], [0.06], 0.95, 0.5)
    assert one.estimate == pytest.approx(0.5)
    assert not one.defined
    assert math.isnan(gap_closed([], [], 0.95, 0.5).estimate)
