# SPDX-License-Identifier: Apache-2.0
"""Verdicts on tables with known answers."""

import json
import math

import pytest

from infwidth.claims.claims import FILE, load
from infwidth.claims.judge import find
from infwidth.config.errors import UserError
from infwidth.stats.effects import Effect, RatioEffect
from infwidth.stats.verdicts import Verdict
from infwidth.stored import write_json
from tests.claims.claims_tables import BETTER, EFFECTS, RECORD, WORSE, judged, places, row
from tests.experiments import memory_synthetic

WITHIN = {"kind": "equivalent", "within": "statistics.equivalence_margin"}
LESS = {"kind": "less", "than": 0.0}

CASES = {
    "shown everywhere": (row("a", "worse"), "reproduced"),
    "the other way at one place": (row("a", "better"), "contradicted"),
    "that place is not asked for": (row("a", "better", scope=["H = 4"]), "reproduced"),
    "the last one is": (row("a", "better", scope="last_place"), "contradicted"),
    "one is enough": (row("a", "better", scope="some_place"), "reproduced"),
    "nowhere at all": (row("a", "worse", rule=LESS, scope="some_place"), "contradicted"),
    "not shown at one place": (row("a", "vague"), "inconclusive"),
    "less": (row("a", "better", rule=LESS, scope="last_place"), "reproduced"),
    "above a bound": (row("a", "worse", rule={"kind": "greater", "than": 0.05}), "reproduced"),
    "near a bound": (row("a", "worse", rule={"kind": "greater", "than": 0.11}), "inconclusive"),
    "below a bound": (row("a", "worse", rule={"kind": "greater", "than": 0.2}), "contradicted"),
    "equivalent": (row("a", "same", rule=WITHIN), "reproduced"),
    "beyond the margin": (row("a", "worse", rule=WITHIN), "contradicted"),
    "not known to be equivalent": (row("a", "vague", rule=WITHIN, scope="last_place"),
                                   "inconclusive"),
    "a question, yes": (row("a", "worse", source="open"), "yes"),
    "a question, no": (row("a", "worse", source="ours", rule=LESS), "no"),
    "a question, open": (row("a", "vague", source="ours"), "inconclusive"),
    "one seed": (row("a", "one_seed"), "inconclusive"),
    "diverged": (row("a", "diverged"), "inconclusive"),
    "all diverged": (row("a", "no_runs"), "inconclusive"),
    "no spread": (row("a", "no_spread"), "inconclusive"),
    "an error that is not known": (row("a", "unknown_error"), "inconclusive"),
    "counted": (row("a", "counted", rule={"kind": "greater", "than": 1.0}), "reproduced"),
    "counted, and a tie": (row("a", "counted", rule={"kind": "greater", "than": 1.5}),
                           "inconclusive"),
    "no place": (row("a", "nowhere"), "not measured"),
    "another place": (row("a", "worse", scope=["H = 5"]), "not measured"),
    "what it needs is there": (row("a", "worse", needs=["H = 16", "= 4"]), "reproduced"),
    "what it needs is not": (row("a", "worse", needs=["H = 4", "RNN"]), "not measured"),
    "nor for one place": (row("a", "worse", needs=["RNN"], scope="some_place"), "not measured"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_verdict_is_the_known_one_and_none_where_a_configuration_is_too_small(name):
    claim, word = CASES[name]
    assert judged(claim).claims[0].verdict == word
    expected = word if word == "not measured" else "too small to judge"
    found = judged(claim, settings={"statistics": {"judge": False}}).claims[0]
    assert found.verdict == expected
    assert found.undecided


def test_a_row_that_was_not_measured_counts_beside_those_that_were():
    absent = row("b", "worse", experiment="memory")
    words = [claim.verdict for claim in judged(row("a", "worse"), absent).claims]
    assert words == ["reproduced", "not measured"]


def test_a_family_of_which_nothing_was_measured_is_left_out():
    level = {"level": 0.05, "about": "another configuration's"}
    absent = row("b", "worse", experiment="memory", family="two")
    found = judged(row("a", "worse"), absent, two=level)
    assert [claim.claim.id for claim in found.claims] == ["a"]
    assert list(found.families) == ["one"]


NOTES = {
    "one_seed": "H = 4: one repeat, so neither interval nor test.",
    "diverged": "H = 4: 2 of 7 repeats lost, so no test there.",
    "no_runs": "H = 4: 5 of 5 repeats lost, so no test there.",
    "unknown_error": "H = 4: the error is not known, so no test there.",
    "no_spread": "H = 4: all 3 repeats are equal, so no test there.",
    "nowhere": "`lm_width` has no place for it: something that it compares was not run in this "
    "configuration.",
    "worse": "",
}


@pytest.mark.parametrize("effect", NOTES)
def test_what_is_missing_for_a_test_is_said(effect):
    assert judged(row("a", effect)).claims[0].note == NOTES[effect]


def test_why_nothing_was_measured_is_said():
    absent, other = judged(
        row("a", "worse", experiment="memory"), row("b", "worse", scope=["H = 4", "H = 5"])
    ).claims
    assert absent.note == "The experiment `memory` was not measured here."
    assert absent.measurements is None
    assert other.note == "There is no place H = 5; there are H = 4, H = 16."
    assert other.measurements == RECORD


def test_what_a_statement_speaks_of_and_was_not_measured_is_said():
    needing, other = judged(
        row("a", "worse", needs=["CNN", "H = 4", "RNN"]), row("b", "worse")
    ).claims
    assert needing.note == (
        "Nothing was measured at 'CNN' and 'RNN', of which the statement speaks."
    )
    # What was measured is shown, without a test over it, and the row counts in its family.
    assert [place.where for place in needing.places] == ["H = 4", "H = 16"]
    assert math.isnan(needing.p_holds)
    assert math.isnan(needing.p_opposite)
    assert needing.decisive is None
    assert other.holm_holds == pytest.approx(2 * other.p_holds, rel=1e-9)


def test_a_ratio_without_bounds_has_a_test_and_says_that_it_has_none():
    ratio = RatioEffect.of_pairs("H = 4", [0.1, 0.2, 0.15], [0.3, -0.2, 0.1], 0)
    found = judged(row("a", "ratio"), effects={"ratio": [ratio]}).claims[0]
    assert math.isnan(found.places[0].lower)
    assert math.isfinite(found.p_holds)
    assert found.note == "H = 4: the interval is unbounded."


def test_an_effect_that_there_is_not_is_an_error_that_lists_those_there_are():
    with pytest.raises(UserError) as error:
        judged(row("mine", "wrose"))
    assert "claim 'mine': lm_width has no effect 'wrose'; it has worse, better," in str(error.value)


def test_holm_runs_over_the_rows_of_a_family_and_those_not_measured_count():
    # Mean 0.02, standard error 0.005 of 5: p = 2 t.sf(4, 4) = 0.01613.
    effects = EFFECTS | {"near": [Effect("H = 4", 0.02, 0.005, 4, 5)]}
    alone = judged(row("a", "near"), effects=effects).claims[0]
    assert alone.p_holds == alone.holm_holds == pytest.approx(0.0161300899, rel=1e-6)
    rows = [row("a", "near"), row("b", "worse"), row("c", "nowhere"), row("d", "vague")]
    family = judged(*rows, effects=effects).claims
    # After b, which is smaller, three are left.
    assert family[0].holm_holds == pytest.approx(3 * alone.p_holds, rel=1e-9)
    assert family[1].holm_holds == pytest.approx(4 * family[1].p_holds, rel=1e-9)
    assert [each.verdict for each in family[:2]] == ["reproduced", "reproduced"]
    more = judged(*rows, row("e", "nowhere"), effects=effects).claims[0]
    assert more.holm_holds == pytest.approx(4 * alone.p_holds, rel=1e-9)
    assert more.verdict == "inconclusive"
    assert more.note.startswith("By itself it would be decided (p = 0.016); Holm's correction")
    # So is an opposite whose claim cannot be tested at all, since one place lost a run.
    against = [Effect.of_repeats("H = 4", WORSE, 1), Effect("H = 16", -0.02, 0.004, 4, 5)]
    lost = judged(row("a", "e"), *rows[1:], row("e", "nowhere"), effects=effects | {"e": against})
    assert math.isnan(lost.claims[0].p_holds)
    assert "By itself it would be decided" in lost.claims[0].note
    other = {"level": 0.05, "about": "the rest"}
    apart = judged(*rows, row("e", "nowhere", family="two"), effects=effects, two=other).claims
    assert apart[0].holm_holds == pytest.approx(3 * alone.p_holds, rel=1e-9)


def test_a_family_may_have_a_level_of_its_own():
    strict = {"level": 1e-6, "about": "the hard ones"}
    rows = row("a", "worse"), row("b", "worse", family="two")
    a, b = judged(*rows, two=strict).claims
    assert (a.verdict, a.level) == ("reproduced", pytest.approx(0.05))
    assert (b.verdict, b.level) == ("inconclusive", 1e-6)


def test_bounds_are_those_of_the_settings():
    found = judged(
        row("a", "worse", rule=WITHIN), settings={"statistics": {"equivalence_margin": 0.3}}
    ).claims[0]
    assert found.bounds == {"to": 0.0, "within": 0.3}
    assert found.verdict == "reproduced"


def test_a_claim_knows_its_line_and_its_label():
    text = "claims:\n  - id: a\n    number: 1\n\n  - id: ab\n  -  id: b\n"
    a, b = judged(row("a", "worse"), row("b", "worse"), text=text).claims
    assert (a.label, a.line, b.label, b.line) == ("1a", 2, "1b", 6)
    assert judged(row("zz", "worse"), text=text).claims[0].line == 1


def test_what_is_written_is_read_back(tmp_path):
    rows = [row(f"c{k}", effect) for k, effect in enumerate(EFFECTS)]
    before = judged(*rows)
    write_json(tmp_path / FILE, before.as_json())
    json.loads((tmp_path / FILE).read_text(), parse_constant=lambda name: pytest.fail(name))
    after = load(tmp_path)
    assert repr(after) == repr(before)
    # NaN is not equal to itself, and repr shows it.
    assert "nan" in repr(after)


def test_a_file_of_claims_that_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(UserError, match=r"claims\.json is missing: run `infwidth claims` first"):
        load(tmp_path)
    write_json(tmp_path / FILE, judged(row("a", "worse")).as_json())
    content = json.loads((tmp_path / FILE).read_text())
    del content["claims"][0]["claim"]["rule"]
    write_json(tmp_path / FILE, content)
    with pytest.raises(UserError, match=r"claims\.json: not what `infwidth claims` writes"):
        load(tmp_path)


def test_counts_are_by_word_and_by_who_asks():
    found = judged(
        row("a", "worse"),
        row("b", "vague"),
        row("c", "worse", source="open"),
        row("d", "vague", source="ours"),
        row("e", "worse"),
        row("f", "worse", theory=True),
    )
    assert found.counts("experiment") == {Verdict.REPRODUCED: 2, Verdict.INCONCLUSIVE: 1}
    assert found.counts("theory") == {Verdict.REPRODUCED: 1}
    assert found.counts("question") == {Verdict.YES: 1, Verdict.INCONCLUSIVE: 1}
    assert found.corpora == [RECORD["corpus"]]


def test_places_hold_both_intervals():
    place = judged(row("a", "better")).claims[0].places[1]
    expected = places(WORSE, BETTER)[1].interval(0.95)
    assert (place.lower, place.upper) == (expected.lower, expected.upper)
    assert (place.documents_lower, place.documents_upper) == (0.0, 0.2)
    assert (place.repeats, place.lost, place.exact) == (5, 0, False)
    counted = judged(row("a", "counted")).claims[0].places[0]
    assert counted.exact
    assert math.isnan(counted.documents_lower)


def test_what_an_experiment_found_is_read_with_where_it_is_from(tmp_path):
    found = find("memory", memory_synthetic.write(tmp_path))
    assert "growth_exponent" in found.effects
    assert found.record["commit"] == "0" * 40
    assert found.record["configuration"] == "synthetic"
    assert found.record["inputs"].keys() == {
        *("state.parquet", "step.parquet", "resident.parquet", "settings.json")
    }
    with pytest.raises(UserError, match="run the experiment that writes it"):
        find("memory", tmp_path / "nothing")
