# SPDX-License-Identifier: Apache-2.0
"""Claims published and here: another verdict is named, a shifted effect is found."""

import math

import numpy as np
import pytest
from scipy import stats

from infwidth.artifact.comparing import Comparison, compare_claims
from infwidth.stats.effects import Effect
from tests.claims.claims_tables import BETTER, EFFECTS, SAME, WORSE, judged, places, row

ROWS = (row("a", "worse"), row("b", "counted"), row("c", "one_seed"))


def test_the_same_evidence_agrees():
    compared = compare_claims(judged(*ROWS), judged(*ROWS))
    assert (compared.count, compared.verdicts, compared.shifted(1.0)) == (3, [], [])
    assert [each.inside for each in compared.effects] == [True, True, True, True, None]


def test_claims_that_were_not_measured_are_no_part_of_it():
    rows = (*ROWS, row("d", "anything", experiment="memory"))
    compared = compare_claims(judged(*rows), judged(*rows))
    assert compared.count == len(ROWS)
    assert {each.claim for each in compared.effects} == {"a", "b", "c"}


def test_another_verdict_is_named():
    here = judged(*ROWS, effects=EFFECTS | {"worse": places(BETTER, BETTER)})
    compared = compare_claims(judged(*ROWS), here)
    (label, claim, before, after) = compared.verdicts[0]
    assert (claim, before, after) == ("a", "reproduced", "contradicted")
    assert label.startswith("1")
    assert [each.claim for each in compared.shifted(0.05)] == ["a", "a"]
    assert [each.inside for each in compared.effects[:2]] == [False, False]


def test_a_verdict_that_moves_while_the_effects_agree_is_no_problem():
    """The lower end of one interval lies just above the bound, and of the other just below."""
    near = {"kind": "greater", "than": 0.09}
    sides = [
        judged(row("a", "e", rule=near), effects={"e": places(np.array(WORSE) + by)})
        for by in (0.0, -0.002)
    ]
    compared = compare_claims(*sides)
    assert compared.verdicts == [("1", "a", "reproduced", "inconclusive")]
    assert (compared.moved(0.05), compared.overturned(0.05)) == (compared.verdicts, [])
    whole = Comparison([], compared)
    assert whole.problems == []
    assert whole.moved == [
        "verdict moved, no effect disagrees: claim 1 (a): reproduced published, inconclusive here"
    ]


def test_a_verdict_is_overturned_by_an_effect_of_its_own_claim_alone():
    near = row("b", "e", rule={"kind": "greater", "than": 0.09})
    published = judged(row("a", "worse"), near, effects=EFFECTS | {"e": places(WORSE)})
    here = {"worse": places(BETTER, BETTER), "e": places(np.array(WORSE) - 0.002)}
    compared = compare_claims(published, judged(row("a", "worse"), near, effects=here))
    assert [claim for _, claim, *_ in compared.overturned(0.05)] == ["a"]
    assert [claim for _, claim, *_ in compared.moved(0.05)] == ["b"]
    problems = Comparison([], compared).problems
    assert problems[0].endswith("(a): reproduced published, contradicted here")
    assert len(problems) == 3
    assert all(said.startswith("claim 1a (a) at H = ") for said in problems[1:])


def test_a_verdict_on_an_exact_number_is_overturned_by_another_number():
    def counted(number):
        return judged(row("a", "e"), effects={"e": [Effect.exact("t = 1", number)]})

    compared = compare_claims(counted(1.5), counted(-1.5))
    assert compared.overturned(0.05) == [("1", "a", "reproduced", "contradicted")]
    assert Comparison([], compared).problems == [
        "claim 1 (a): reproduced published, contradicted here"
    ]
    # What a compiler takes may differ, as long as the verdict is the same.
    assert Comparison([], compare_claims(counted(1.5), counted(1.6))).problems == []


def test_the_p_value_is_that_of_a_t_test_where_variances_and_counts_are_equal():
    """Holm over one test changes nothing, and Student's test is the oracle."""
    other = [value + 0.02 for value in WORSE]
    sides = [judged(row("a", "e"), effects={"e": places(values)}) for values in (WORSE, other)]
    (effect,) = compare_claims(*sides).effects
    assert effect.p_value == pytest.approx(stats.ttest_ind(WORSE, other).pvalue, rel=1e-9)
    assert effect.inside is False


def test_a_normal_interval_gives_a_normal_error():
    def judged_at(estimate):
        return judged(row("a", "e"), effects={"e": [Effect("H = 4", estimate, 0.1, math.inf, 5)]})

    (effect,) = compare_claims(judged_at(0.0), judged_at(0.3)).effects
    assert effect.p_value == pytest.approx(2 * stats.norm.sf(0.3 / math.hypot(0.1, 0.1)))


def test_what_cannot_be_tested_is_not():
    here = judged(*ROWS, effects=EFFECTS | {"counted": [Effect.exact("t = 1", 2.0)]})
    compared = compare_claims(judged(*ROWS), here)
    one, two = (each for each in compared.effects if each.claim == "b")
    assert (one.here, one.inside, math.isnan(one.p_value)) == (2.0, False, True)
    assert (math.isnan(two.here), two.inside, math.isnan(two.p_value)) == (True, None, True)


def test_a_shift_far_below_the_interval_agrees():
    here = judged(row("a", "e"), effects={"e": places(np.array(SAME) + 1e-6)})
    (effect,) = compare_claims(judged(row("a", "e"), effects={"e": places(SAME)}), here).effects
    assert effect.inside
    assert effect.p_value > 0.99
