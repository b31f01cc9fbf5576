# SPDX-License-Identifier: Apache-2.0
"""Intervals, power, verdicts and the bootstrap are those of scipy, of simulation, or by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from infwidth.stats.effects import Effect
from infwidth.stats.statistics import (
    document_interval,
    holm,
    mean_interval,
    paired_power,
    required_seeds,
    resampled_losses,
)
from infwidth.stats.verdicts import Evidence, Verdict, at_every_width, tracks, verdict, worse

VALUES = np.array([0.031, 0.044, 0.038, 0.029, 0.052])
EXACT = {"rel": 1e-12, "abs": 1e-15}  # the same formula in float64
SAMPLES = 4_000


def of(values):
    return Effect.of_repeats("", values)


def test_t_interval_is_scipys():
    ours = mean_interval(VALUES, 0.9)
    theirs = stats.ttest_1samp(VALUES, 0).confidence_interval(0.9)
    assert (ours.lower, ours.upper) == pytest.approx((theirs.low, theirs.high), **EXACT)
    assert ours.sd == pytest.approx(VALUES.std(ddof=1), **EXACT)


def test_too_few_values_have_no_interval():
    assert math.isnan(mean_interval([1.0], 0.95).lower)
    assert mean_interval([1.0], 0.95).estimate == 1.0
    assert math.isnan(mean_interval([], 0.95).estimate)
    assert math.isnan(tracks(of([1.0]), 0.1).p_holds)


def test_equivalence_is_the_larger_of_scipys_two_tests():
    lower = stats.ttest_1samp(VALUES, -0.05, alternative="greater").pvalue
    upper = stats.ttest_1samp(VALUES, 0.05, alternative="less").pvalue
    assert tracks(of(VALUES), 0.05).p_holds == pytest.approx(max(lower, upper), **EXACT)


@pytest.mark.parametrize("margin", [0.035, 0.044, 0.047, 0.049, 0.06])
def test_equivalence_agrees_with_the_interval_of_twice_the_level(margin):
    inside = mean_interval(VALUES, 0.9)
    assert (tracks(of(VALUES), margin).p_holds < 0.05) == (
        -margin < inside.lower < inside.upper < margin
    )


def test_values_that_do_not_vary_give_no_test():
    same = of([0.125, 0.125, 0.125])
    assert np.isnan([*worse(same), *tracks(same, 0.25)]).all()


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


def test_verdicts_of_worse_agree_with_the_interval():
    assert verdict(worse(of(VALUES)), 0.95) is Verdict.REPRODUCED
    assert verdict(worse(of(-VALUES)), 0.95) is Verdict.CONTRADICTED
    assert verdict(worse(of(VALUES - VALUES.mean())), 0.95) is Verdict.INCONCLUSIVE
    for shift in np.linspace(0.02, 0.06, 9):
        above = mean_interval(VALUES - shift, 0.95).lower > 0
        assert (verdict(worse(of(VALUES - shift)), 0.95) is Verdict.REPRODUCED) == above


def test_verdicts_of_tracks_need_evidence_either_way():
    assert verdict(tracks(of(VALUES), 0.1), 0.95) is Verdict.REPRODUCED
    assert verdict(tracks(of(VALUES), 0.01), 0.95) is Verdict.CONTRADICTED
    assert verdict(tracks(of(VALUES), 0.04), 0.95) is Verdict.INCONCLUSIVE


def test_no_verdict_without_evidence_or_where_judging_is_off():
    assert verdict(Evidence(math.nan, math.nan), 0.95) is Verdict.INCONCLUSIVE
    assert verdict(worse(of([0.1])), 0.95) is Verdict.INCONCLUSIVE
    assert verdict(worse(of(VALUES)), 0.95, judge=False) == "too small to judge"


def test_every_width_needs_all_and_falls_with_one():
    strong, weak, against = Evidence(1e-4, 1.0), Evidence(0.3, 0.7), Evidence(1.0, 1e-4)
    assert verdict(at_every_width([strong, strong]), 0.95) is Verdict.REPRODUCED
    assert verdict(at_every_width([strong, weak]), 0.95) is Verdict.INCONCLUSIVE
    assert verdict(at_every_width([strong, against]), 0.95) is Verdict.CONTRADICTED
    assert at_every_width([strong, weak]).p_holds == 0.3
    assert math.isnan(at_every_width([strong, Evidence(math.nan, 1.0)]).p_holds)
    assert math.isnan(at_every_width([]).p_holds)
    # After Holm over three widths 0.02 is no longer evidence at level 0.05.
    assert at_every_width([Evidence(1.0, 0.02), weak, strong]).p_opposite == pytest.approx(0.06)


def corpus(documents=40, seeds=3, sd=0.08):
    generator = np.random.default_rng(1)
    tokens_SxD = np.tile(generator.integers(1_000, 9_000, documents), (seeds, 1)).astype(float)
    loss_D = 1.6 + generator.normal(0, sd, documents)
    return tokens_SxD * (loss_D + generator.normal(0, 0.01, (seeds, 1))), tokens_SxD


def test_variance_is_that_of_the_ratio_estimator():
    loss_SxD, tokens_SxD = corpus()
    loss_D, tokens_D = loss_SxD.mean(axis=0), tokens_SxD[0]
    ratio = loss_D.sum() / tokens_D.sum()
    analytic = ((loss_D - ratio * tokens_D) ** 2).sum() / tokens_D.sum() ** 2
    resampled_B = resampled_losses(loss_SxD, tokens_SxD, SAMPLES, 0)
    # 2% noise of a variance over 4,000 samples, and the ratio's curvature over 40 documents
    assert resampled_B.var() == pytest.approx(analytic, rel=0.08)
    assert resampled_B.mean() == pytest.approx(ratio, abs=4 * math.sqrt(analytic / SAMPLES) + 5e-4)


def test_pairing_by_document_removes_what_the_variants_share():
    loss_SxD, tokens_SxD = corpus()
    first_B = resampled_losses(loss_SxD, tokens_SxD, SAMPLES, 0)
    shifted_B = resampled_losses(loss_SxD + 0.05 * tokens_SxD, tokens_SxD, SAMPLES, 0)
    # rounding of sums of some 1e5 nats
    assert np.ptp(shifted_B - first_B) < 1e-12
    assert (shifted_B - first_B).mean() == pytest.approx(0.05, abs=1e-12)


def test_same_seed_same_resamples_and_chunks_do_not_show():
    loss_SxD, tokens_SxD = corpus()
    whole_B = resampled_losses(loss_SxD, tokens_SxD, 600, 7)
    assert np.array_equal(whole_B[:100], resampled_losses(loss_SxD, tokens_SxD, 100, 7))
    assert not np.array_equal(whole_B, resampled_losses(loss_SxD, tokens_SxD, 600, 8))


def test_interval_is_as_wide_as_the_t_interval_of_equal_documents():
    loss_SxD = 1.6 + np.random.default_rng(2).normal(0, 0.1, (1, 12))
    resampled_B = resampled_losses(loss_SxD, np.ones((1, 12)), 20_000, 0)
    found = document_interval(float(loss_SxD.mean()), resampled_B, 12, 0.95)
    theirs = stats.ttest_1samp(loss_SxD[0], 0).confidence_interval(0.95)
    # the bootstrap's tails are a little shorter than the normal ones that the correction assumes
    assert found.half_width == pytest.approx((theirs.high - theirs.low) / 2, rel=0.06)


def test_one_document_has_no_interval():
    found = document_interval(1.6, np.full(100, 1.6), 1, 0.95)
    assert found.estimate == 1.6
    assert math.isnan(found.lower)
