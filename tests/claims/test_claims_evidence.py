# SPDX-License-Identifier: Apache-2.0
"""From effects to evidence: the tests are scipy's, and false verdicts are as rare as promised.

Legend: S repeats, K outputs or claims, W places.
"""

import math

import numpy as np
import pytest
from scipy import stats

from infwidth.claims.judge import (
    decisive,
    evidence_at,
    evidence_over,
    not_measured,
    places_of,
    slack,
)
from infwidth.claims.schema import Equivalent, Greater, Less
from infwidth.stats.effects import Effect, LargestEffect, RatioEffect
from infwidth.stats.statistics import holm, two_sided
from infwidth.stats.verdicts import Evidence, Verdict, verdict
from tests.stats.fieller import FINE, fiellers_ends

VALUES = np.array([0.031, 0.052, 0.012, 0.044, 0.027])
GREATER = Greater(kind="greater", than=0.0)
LESS = Less(kind="less", than=0.0)
WITHIN = Equivalent(kind="equivalent", to=-0.5, within=0.03)
NAN = Evidence(math.nan, math.nan)


def at(rule, values, lost=0, **bounds):
    return evidence_at(rule, bounds, Effect.of_repeats("", values, lost))


def one_sided(values, bound, alternative):
    return stats.ttest_1samp(values, bound, alternative=alternative).pvalue


@pytest.mark.parametrize("than", [-0.01, 0.0, 0.02, 0.05])
def test_a_direction_is_the_two_sided_t_test(than):
    above, below = (2 * one_sided(VALUES, than, side) for side in ("greater", "less"))
    expected = (min(above, 1), min(below, 1))
    assert at(GREATER, VALUES, than=than) == pytest.approx(expected, rel=1e-10)
    assert at(LESS, VALUES, than=than) == pytest.approx(expected[::-1], rel=1e-10)


@pytest.mark.parametrize("shift", [-0.6, -0.54, -0.51, -0.5, -0.46])
def test_equivalence_is_two_one_sided_tests_about_its_value(shift):
    values = VALUES - VALUES.mean() + shift
    holds = max(one_sided(values, -0.53, "greater"), one_sided(values, -0.47, "less"))
    beyond = 2 * min(one_sided(values, -0.47, "greater"), one_sided(values, -0.53, "less"))
    found = at(WITHIN, values, to=-0.5, within=0.03)
    assert found == pytest.approx((holds, min(beyond, 1)), rel=1e-10)


def test_the_direction_shown_and_the_interval_agree_at_every_level():
    effect = Effect.of_repeats("", VALUES)
    for confidence in np.linspace(0.5, 0.999, 40):
        interval = effect.interval(confidence)
        p = evidence_at(GREATER, {"than": 0.02}, effect).p_holds
        assert (p < 1 - confidence) == (interval.lower > 0.02)


@pytest.mark.parametrize(
    ("rule", "value", "bounds", "expected"),
    [
        (GREATER, 0.2, {"than": 0.1}, (0, 1)),
        (WITHIN, -0.49, {"to": -0.5, "within": 0.03}, (0, 1)),
        (WITHIN, -0.40, {"to": -0.5, "within": 0.03}, (1, 0)),
        # A tie is neither, and nor is what lies at a margin.
        (GREATER, 1.5, {"than": 1.5}, (1, 1)),
        (LESS, 1.5, {"than": 1.5}, (1, 1)),
        (WITHIN, 0.5, {"to": 0.0, "within": 0.5}, (1, 1)),
    ],
)
def test_what_was_counted_leaves_no_doubt(rule, value, bounds, expected):
    assert evidence_at(rule, bounds, Effect.exact("", value)) == expected


@pytest.mark.parametrize(
    ("values", "lost"),
    [
        *(([], 0), ([0.3], 0), (VALUES, 1), ([math.nan, 0.1, 0.2], 0)),
        # All equal, as where a seed takes no effect: with two of them the p value would be 0.
        *(([0.2] * 2, 0), ([0.2] * 3, 0)),
    ],
)
def test_one_repeat_a_lost_one_equal_ones_or_what_is_no_number_give_no_evidence(values, lost):
    for rule, bounds in ((GREATER, {"than": 0.1}), (WITHIN, {"to": 0.0, "within": 1.0})):
        assert all(math.isnan(p) for p in at(rule, values, lost, **bounds))


THREE = [Evidence(0.01, 1.0), Evidence(0.04, 0.9), Evidence(0.5, 0.012)]


def test_every_place_is_intersection_and_union_and_some_place_its_mirror_image():
    # The largest of p for; the least of the others times 3, by Holm.
    assert evidence_over("every_place", THREE) == pytest.approx((0.5, 0.036))
    assert evidence_over(["a", "b", "c"], THREE) == evidence_over("every_place", THREE)
    assert evidence_over("some_place", THREE) == pytest.approx((0.03, 1.0))
    mirrored = [Evidence(*pair[::-1]) for pair in THREE]
    assert evidence_over("some_place", mirrored)[::-1] == evidence_over("every_place", THREE)


def test_a_place_without_a_test_forbids_all_that_needs_it():
    whole = evidence_over("every_place", [THREE[0], NAN])
    assert math.isnan(whole.p_holds)
    # It counts in Holm, too: 1.0 of two.
    assert whole.p_opposite == 1.0
    some = evidence_over("some_place", [THREE[0], NAN])
    assert some.p_holds == pytest.approx(0.02)
    assert math.isnan(some.p_opposite)
    assert all(math.isnan(p) for p in evidence_over("every_place", []))


def test_scope_and_needs_take_places_by_name_and_say_which_are_not_there():
    effects = [Effect.exact(where, 0.0) for where in ("H = 4", "H = 8", "H = 16")]
    assert places_of("every_place", effects) == ([0, 1, 2], [])
    assert places_of("some_place", effects) == ([0, 1, 2], [])
    assert places_of("last_place", effects) == ([2], [])
    assert places_of(["H = 16", "H = 5", "H = 4"], effects) == ([2, 0], ["H = 5"])

    effects = [Effect.exact(where, 0.0) for where in ("MLP, H = 4", "RNN, H = 4")]
    assert not_measured(["RNN", "H = 4", "MLP, H = 4"], effects) == []
    assert not_measured(["RNN", "CNN", "H = 8"], effects) == ["CNN", "H = 8"]


def test_the_place_that_decides_is_the_weakest_or_the_strongest_against():
    flat = [0.0] * 3
    for word in (Verdict.REPRODUCED, Verdict.INCONCLUSIVE, Verdict.CONTRADICTED):
        assert decisive("every_place", THREE, flat, word) == 2
    for word in (Verdict.YES, Verdict.NO):
        assert decisive("some_place", THREE, flat, word) == 0
    assert decisive("every_place", [THREE[2], NAN], flat[:2], Verdict.INCONCLUSIVE) == 1
    assert decisive("every_place", [THREE[2], NAN], flat[:2], Verdict.CONTRADICTED) == 0
    assert decisive("every_place", [], [], Verdict.INCONCLUSIVE) is None


def test_among_exact_numbers_the_distance_from_the_bound_decides():
    same = [Evidence(1.0, 0.0)] * 3
    slacks = [slack(GREATER, {"than": 10.0}, value) for value in (1.5, 13.0, 0.9)]
    assert slacks == pytest.approx([-8.5, 3.0, -9.1])
    assert decisive("some_place", same, slacks, Verdict.NO) == 1
    assert decisive("every_place", same, slacks, Verdict.NO) == 2
    assert slack(LESS, {"than": 1.0}, 0.25) == 0.75
    assert slack(WITHIN, {"to": -0.5, "within": 0.03}, -0.51) == pytest.approx(0.02)


def test_a_ratio_is_tested_as_fieller_would_invert_it():
    top, bottom = VALUES, VALUES * 2 + np.array([0.01, -0.02, 0.015, 0.0, -0.01])
    effect = RatioEffect.of_pairs("", top, bottom, 0)
    interval = effect.interval(0.95)
    assert interval.estimate == pytest.approx(top.sum() / bottom.sum(), rel=1e-12)
    ends = fiellers_ends(top, bottom)
    assert (interval.lower, interval.upper) == pytest.approx(ends, abs=FINE)
    gap = one_sided(bottom, 0, "greater")
    assert effect.p_above(0.5) == pytest.approx(
        max(one_sided(top - 0.5 * bottom, 0, "greater"), gap), rel=1e-10
    )
    # Below its end the test rejects at the level, above it does not.
    for end, p in ((interval.lower, effect.p_above), (interval.upper, effect.p_below)):
        assert p(end) == pytest.approx(max(0.025, gap), rel=1e-6)


def test_a_ratio_of_which_nothing_can_be_left_out_has_no_interval():
    bottom = VALUES + np.array([0.05, -0.06, 0.0, -0.05, 0.06])
    assert bottom.mean() > 0
    assert all(map(math.isinf, fiellers_ends(VALUES, bottom)))
    assert math.isnan(RatioEffect.of_pairs("", VALUES, bottom, 0).interval(0.95).lower)


def test_without_a_gap_a_ratio_has_no_number_and_no_verdict():
    effect = RatioEffect.of_pairs("", VALUES, -VALUES, 0)
    assert math.isnan(effect.estimate)
    assert math.isnan(effect.interval(0.95).lower)
    assert min(effect.p_above(0.5), effect.p_below(0.5)) > 0.9
    assert math.isnan(RatioEffect.of_pairs("", VALUES, VALUES, 1).p_above(0.5))
    assert math.isnan(RatioEffect.of_pairs("", [0.1], [0.2], 0).p_below(0.5))
    assert math.isnan(RatioEffect.of_pairs("", VALUES, np.full(VALUES.size, 0.2), 0).p_above(0.5))
    assert math.isnan(RatioEffect.of_pairs("", [], [], 0).estimate)


def test_the_largest_of_many_is_below_where_all_are_and_above_where_one_is():
    mean_K, error_K = np.array([0.01, -0.03, 0.0]), np.array([0.005, 0.01, 0.02])
    effect = LargestEffect.of_means("", mean_K, error_K, 11)
    assert (effect.estimate, effect.error) == (0.03, 0.01)
    below_K = stats.t.sf((0.06 - np.abs(mean_K)) / error_K, 10)
    assert effect.p_below(0.06) == pytest.approx(below_K.max(), rel=1e-12)
    above_K = stats.t.sf((np.abs(mean_K) - 0.01) / error_K, 10)
    assert effect.p_above(0.01) == pytest.approx(2 * 3 * above_K.min(), rel=1e-12)
    assert effect.p_above(-0.01) == 0.0
    interval = effect.interval(0.95)
    # At its ends the two-sided tests stand at the level; here 0 is not left out.
    assert two_sided(effect.p_below(interval.upper)) == pytest.approx(0.05, rel=1e-9)
    assert interval.lower == 0
    far = LargestEffect.of_means("", mean_K + np.array([0, -1, 0]), error_K, 11)
    assert two_sided(far.p_above(far.interval(0.95).lower)) == pytest.approx(0.05, rel=1e-9)


def test_the_largest_of_exact_or_too_few_numbers():
    exact = LargestEffect.of_means("", [0.1, -0.2], [0.0, 0.0], 5)
    assert (exact.p_below(0.3), exact.p_below(0.2), exact.p_above(0.1)) == (0, 1, 0)
    one = LargestEffect.of_means("", [0.1, -0.2], [math.nan, math.nan], 1)
    assert math.isnan(one.p_below(1.0))
    assert math.isnan(one.interval(0.95).upper)


DRAWS = 1500
# Four standard errors above 5%.
MOST = 0.05 + 4 * math.sqrt(0.05 * 0.95 / DRAWS)


def effects_of(values_DxWxS):
    """Effect.of_repeats for many draws at once."""
    mean, S = values_DxWxS.mean(axis=2), values_DxWxS.shape[2]
    error = values_DxWxS.std(axis=2, ddof=1) / math.sqrt(S)
    return [
        [Effect("", float(m), float(e), S - 1, S) for m, e in zip(*rows, strict=True)]
        for rows in zip(mean, error, strict=True)
    ]


BOUNDARY = {
    "greater, one place at the bound": (GREATER, "every_place", (0.0, 9.0)),
    "greater, every place at the bound": (GREATER, "every_place", (0.0, 0.0, 0.0)),
    "greater somewhere": (GREATER, "some_place", (0.0, 0.0, 0.0)),
    "greater somewhere, else far below": (GREATER, "some_place", (0.0, -9.0, -9.0)),
    "equivalent, at the margin": (WITHIN, "every_place", (-0.5 + 2.0, -0.5)),
    "equivalent, at both ends": (WITHIN, "every_place", (-0.5 + 2.0, -0.5 - 2.0)),
}


@pytest.mark.parametrize("name", BOUNDARY)
def test_a_false_verdict_is_as_rare_as_the_level_where_it_is_easiest(name):
    rule, scope, means_W = BOUNDARY[name]
    bounds = {"to": -0.5, "within": 2.0} if rule is WITHIN else {"than": 0.0}
    rng = np.random.default_rng(len(name))
    # Places share half of their variance, as widths trained on the same seeds would.
    shape = (DRAWS, len(means_W), 5)
    noise = rng.normal(size=(DRAWS, 1, 5)) + rng.normal(size=shape)
    values = np.array(means_W)[None, :, None] + noise
    words = [
        verdict(evidence_over(scope, [evidence_at(rule, bounds, e) for e in effects]), 0.95)
        for effects in effects_of(values)
    ]
    # At the boundary neither word is true.
    assert words.count(Verdict.REPRODUCED) <= MOST * DRAWS
    assert words.count(Verdict.CONTRADICTED) <= MOST * DRAWS


def test_the_test_is_not_merely_timid():
    # A single place exactly at the margin is called equivalent in 5% of the draws, not in none.
    rng = np.random.default_rng(1)
    values = 2.0 + rng.normal(size=(DRAWS, 1, 30)) * 0.1
    bounds = {"to": 0.0, "within": 2.0}
    p_values = [evidence_at(WITHIN, bounds, e[0]).p_holds for e in effects_of(values)]
    share = np.mean(np.array(p_values) < 0.05)
    assert share == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / DRAWS))


def test_over_a_family_one_false_word_in_it_is_as_rare_as_the_level():
    rng = np.random.default_rng(2)
    p_DxK = np.array(
        [
            [evidence_at(GREATER, {"than": 0.0}, effect).p_holds for effect in effects]
            for effects in effects_of(rng.normal(size=(DRAWS, 4, 6)))
        ]
    )
    false = np.mean([min(holm(list(p_K))) < 0.05 for p_K in p_DxK])
    assert false <= MOST
    # Without the correction it would not be.
    assert np.mean(p_DxK.min(axis=1) < 0.05) > MOST


def test_the_largest_of_many_is_falsely_called_small_as_rarely_as_the_level():
    # One of K outputs has a bias at the bound, the others none: where it is easiest.
    rng = np.random.default_rng(3)
    called_small = called_large = 0
    for _ in range(DRAWS):
        values_SxK = rng.normal(size=(20, 8))
        values_SxK[:, 0] += 1.5
        error_K = values_SxK.std(axis=0, ddof=1) / math.sqrt(20)
        effect = LargestEffect.of_means("", values_SxK.mean(axis=0), error_K, 20)
        called_small += effect.p_below(1.5) < 0.05
        called_large += effect.p_above(1.5) < 0.05
    assert 0.03 * DRAWS <= called_small <= MOST * DRAWS
    assert called_large <= MOST * DRAWS
