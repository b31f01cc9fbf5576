# SPDX-License-Identifier: Apache-2.0
"""Claims published and here: another verdict is named, a shifted effect is found."""

import math

import numpy as np
import pytest
from scipy import stats

from infwidth.analysis.agreement_claims import compare_claims
from infwidth.analysis.effects import Effect
from tests.analysis.claims_tables import BETTER, EFFECTS, SAME, WORSE, judged, places, row

ROWS = (row("a", "worse"), row("b", "counted"), row("c", "one_seed"))


def test_the_same_evidence_agrees():
    compared = compare_claims(judged(*ROWS), judged(*ROWS))
    assert (compared.count, compared.verdicts, compared.shifted(1.0)) == (3, [], [])
    assert [each.inside for each in compared.effects] == [True, True, True, True, None]


def test_another_verdict_is_named():
    here = judged(*ROWS, effects=EFFECTS | {"worse": places(BETTER, BETTER)})
    compared = compare_claims(judged(*ROWS), here)
    (label, claim, before, after) = compared.verdicts[0]
    assert (claim, before, after) == ("a", "reproduced", "contradicted")
    assert label.startswith("1")
    assert [each.claim for each in compared.shifted(0.05)] == ["a", "a"]
    assert [each.inside for each in compared.effects[:2]] == [False, False]


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
