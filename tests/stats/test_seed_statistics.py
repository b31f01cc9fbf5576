# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from scipy import stats

from infwidth.stats.statistics import (
    holm,
    intersection_union,
    mean_interval,
    p_beyond,
    p_equivalent,
    p_greater,
    p_less,
    paired_difference,
    paired_power,
    required_seeds,
)
from infwidth.stats.verdicts import (
    Evidence,
    Verdict,
    at_every_width,
    tracks,
    verdict,
    worse,
)

VALUES = np.array([0.031, 0.044, 0.038, 0.029, 0.052])
EXACT = {"rel": 1e-12, "abs": 1e-15}  # the same formula in float64


def test_t_interval_is_scipys():
    ours = mean_interval(VALUES, 0.9)
    theirs = stats.ttest_1samp(VALUES, 0).confidence_interval(0.9)
    assert (ours.lower, ours.upper) == pytest.approx((theirs.low, theirs.high), **EXACT)
    assert ours.sd == pytest.approx(VALUES.std(ddof=1), **EXACT)


def test_too_few_values_have_no_interval():
    assert math.isnan(mean_interval([1.0], 0.95).lower)
    assert mean_interval([1.0], 0.95).estimate == 1.0
    assert math.isnan(mean_interval([], 0.95).estimate)
    assert math.isnan(p_greater([1.0]))
    assert math.isnan(p_equivalent([1.0], 0.1))


def test_paired_difference_is_scipys_and_carries_the_correlation():
    other = VALUES + np.array([0.001, -0.002, 0.0, 0.003, 0.001])
    ours = paired_difference(VALUES, other, 0.95)
    theirs = stats.ttest_rel(VALUES, other).confidence_interval(0.95)
    assert (ours.lower, ours.upper) == pytest.approx((theirs.low, theirs.high), **EXACT)
    assert ours.correlation == pytest.approx(stats.pearsonr(VALUES, other).statistic, **EXACT)
    assert math.isnan(paired_difference(VALUES[:2], other[:2], 0.95).correlation)
    assert math.isnan(paired_difference(VALUES, np.ones(5), 0.95).correlation)


def test_one_sided_p_values_are_scipys():
    greater = stats.ttest_1samp(VALUES, 0.03, alternative="greater").pvalue
    assert p_greater(VALUES, 0.03) == pytest.approx(greater, **EXACT)
    assert p_less(VALUES, 0.03) == pytest.approx(1 - greater, **EXACT)


def test_equivalence_is_the_larger_of_scipys_two_tests():
    lower = stats.ttest_1samp(VALUES, -0.05, alternative="greater").pvalue
    upper = stats.ttest_1samp(VALUES, 0.05, alternative="less").pvalue
    assert p_equivalent(VALUES, 0.05) == pytest.approx(max(lower, upper), **EXACT)


@pytest.mark.parametrize("margin", [0.035, 0.044, 0.047, 0.049, 0.06])
def test_equivalence_agrees_with_the_interval_of_twice_the_level(margin):
    inside = mean_interval(VALUES, 0.9)
    assert (p_equivalent(VALUES, margin) < 0.05) == (-margin < inside.lower < inside.upper < margin)


def test_values_that_do_not_vary_give_no_test():
    same = [0.125, 0.125, 0.125]
    tests = (p_greater(same), p_less(same), p_equivalent(same, 0.25), p_beyond(same, 0.25))
    assert np.isnan(tests).all()


@pytest.mark.parametrize(("count", "effect"), [(3, 0.01), (5, 0.01), (8, 0.004)])
def test_power_is_what_simulation_finds(count, effect):
    sd, trials = 0.006, 20_000
    samples = np.random.default_rng(count).normal(effect, sd, (trials, count))
    found = (stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05).mean()
    # four standard errors of a proportion over 20,000 trials
    assert paired_power(count, sd, effect, 0.95) == pytest.approx(found, abs=0.014)


@pytest.mark.parametrize("ratio", [0.2, 0.6, 1.0, 3.0, 50.0])
def test_required_seeds_is_the_least_count_with_that_power(ratio):
    count = required_seeds(0.01, 0.01 * ratio, 0.95, 0.9)
    assert paired_power(count, 0.01, 0.01 * ratio, 0.95) >= 0.9
    assert count == 2 or paired_power(count - 1, 0.01, 0.01 * ratio, 0.95) < 0.9


def test_required_seeds_of_a_textbook_case():
    # Cohen's d = 0.5, two-sided 0.05, power 0.8 takes 34 pairs (G*Power, paired t test).
    assert required_seeds(2.0, 1.0, 0.95, 0.8) == 34


def test_required_seeds_is_none_where_nothing_is_known():
    assert required_seeds(math.nan, 0.01, 0.95, 0.9) is None
    assert required_seeds(1.0, 1e-6, 0.95, 0.9) is None


def test_holm_of_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], **EXACT)
    with_gap = holm([0.02, math.nan, 0.01])
    assert with_gap[0] == pytest.approx(0.04, **EXACT)
    assert math.isnan(with_gap[1])
    assert with_gap[2] == pytest.approx(0.03, **EXACT)


def test_intersection_union_is_as_weak_as_its_weakest_part():
    assert intersection_union([0.01, 0.2, 0.03]) == 0.2
    assert math.isnan(intersection_union([0.01, math.nan]))
    assert math.isnan(intersection_union([]))


def test_verdicts_of_worse_agree_with_the_interval():
    assert verdict(worse(VALUES), 0.95) is Verdict.REPRODUCED
    assert verdict(worse(-VALUES), 0.95) is Verdict.CONTRADICTED
    assert verdict(worse(VALUES - VALUES.mean()), 0.95) is Verdict.INCONCLUSIVE
    for shift in np.linspace(0.02, 0.06, 9):
        above = mean_interval(VALUES - shift, 0.95).lower > 0
        assert (verdict(worse(VALUES - shift), 0.95) is Verdict.REPRODUCED) == above


def test_verdicts_of_tracks_need_evidence_either_way():
    assert verdict(tracks(VALUES, 0.1), 0.95) is Verdict.REPRODUCED
    assert verdict(tracks(VALUES, 0.01), 0.95) is Verdict.CONTRADICTED
    assert verdict(tracks(VALUES, 0.04), 0.95) is Verdict.INCONCLUSIVE


def test_no_verdict_without_evidence_or_where_judging_is_off():
    assert verdict(Evidence(math.nan, math.nan), 0.95) is Verdict.INCONCLUSIVE
    assert verdict(worse([0.1]), 0.95) is Verdict.INCONCLUSIVE
    assert verdict(worse(VALUES), 0.95, judge=False) == "too small to judge"


def test_every_width_needs_all_and_falls_with_one():
    strong, weak, against = Evidence(1e-4, 1.0), Evidence(0.3, 0.7), Evidence(1.0, 1e-4)
    assert verdict(at_every_width([strong, strong]), 0.95) is Verdict.REPRODUCED
    assert verdict(at_every_width([strong, weak]), 0.95) is Verdict.INCONCLUSIVE
    assert verdict(at_every_width([strong, against]), 0.95) is Verdict.CONTRADICTED
    # After Holm over three widths 0.02 is no longer evidence at level 0.05.
    assert at_every_width([Evidence(1.0, 0.02), weak, strong]).p_opposite == pytest.approx(0.06)
