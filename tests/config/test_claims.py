# SPDX-License-Identifier: Apache-2.0
"""The rules of config/claims.yaml: read, checked, and in step with the settings and the schema."""

import copy
import json
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
import yaml

from infwidth.claims.schema import (
    Claims,
    Reference,
    claims_schema,
    labels,
    number_of,
    read_claims,
    stood_before,
)
from infwidth.config.errors import UserError
from infwidth.config.load import CLAIMS, parse_slice, pick, validate
from infwidth.config.slices import SLICES

SHIPPED = read_claims()
CONTENT = yaml.safe_load(CLAIMS.read_text())


def test_the_written_schema_is_up_to_date_and_takes_the_shipped_rules():
    assert Path("workflow/schemas/claims.schema.json").read_text() == claims_schema()
    jsonschema.validate(CONTENT, json.loads(claims_schema()))


MISTAKES = {
    "unknown key": ({"efect": "x"}, "claim 'ntk_loses_to_frozen'.efect"),
    "unknown kind": ({"rule": {"kind": "better", "than": 0}}, "kind"),
    "no margin": ({"rule": {"kind": "equivalent", "to": 0}}, "within"),
    "a margin of nothing": ({"rule": {"kind": "equivalent", "within": 0}}, "within"),
    "unknown setting": ({"rule": {"kind": "less", "than": "statistics.margin"}}, "than"),
    "a truth value": ({"rule": {"kind": "less", "than": True}}, "than"),
    "unknown scope": ({"scope": "everywhere"}, "scope"),
    "no place": ({"scope": []}, "scope"),
    "unknown source": ({"source": "hearsay"}, "source"),
    "no reason": ({"reason": ""}, "reason"),
    "not a number": ({"number": "one"}, "number"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_that_names_the_claim_and_the_place(name, tmp_path):
    change, place = MISTAKES[name]
    content = copy.deepcopy(CONTENT)
    content["claims"][0] |= change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, json.loads(claims_schema()))
    assert place in said_of(content, tmp_path)


def said_of(content, tmp_path):
    file = tmp_path / "claims.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(UserError) as error:
        read_claims(file)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{file}: ")
    return str(error.value)


def first(**change):
    """Changes the first claim."""
    return lambda content: content["claims"][0].update(change)


def fresh(**change):
    """Changes which seeds had been seen."""
    return lambda content: content["fresh_seeds"].update(change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (first(family="cousins"), "no family 'cousins'; there are paper, "),
        (first(id="adam_star_tracks_frozen"), "two claims are called 'adam_star_tracks_frozen'"),
        (first(figure="fig0_nothing"), "there is no figure 'fig0_nothing'; there are fig1_loss"),
        (first(table="fig1_loss_vs_width"), "no table 'fig1_loss_vs_width'; there are ta"),
        (first(experiment="lm_depth"), "there is no experiment 'lm_depth'; there are lm_width, "),
        (
            first(seen={"lm_width.widths": [16]}),
            "ntk_loses_to_frozen: seen: fresh_seeds has no setting 'lm_width.widths'",
        ),
        (
            lambda content: content["fresh_seeds"].pop("infinite_lm"),
            "transformer_reaches_its_limit: say in fresh_seeds which seeds of infinite_lm",
        ),
        (fresh(lm_depth={"lm_width.seeds": [10]}), "no experiment 'lm_depth'; there are lm_width,"),
        (
            fresh(lm_width={"lm_width.seed": [10]}),
            "lm_width.seed: there is no setting 'seed'; there are v",
        ),
        (
            fresh(lm_width={"lm_width.seeds.first": [10]}),
            "there is no setting 'first'; there are none",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(change, said, tmp_path):
    content = copy.deepcopy(CONTENT)
    change(content)
    assert said in said_of(content, tmp_path)


@pytest.mark.parametrize(
    ("experiment", "setting"),
    [(name, each) for name, settings in SHIPPED.fresh_seeds.items() for each in settings],
)
def test_the_default_runs_on_fresh_seeds(experiment, setting):
    seen = SHIPPED.fresh_seeds[experiment][setting]
    measured = validate({}).model_dump(mode="json")
    claim = next(claim for claim in SHIPPED.claims if claim.experiment == experiment)
    assert stood_before(SHIPPED, claim, measured)
    *sections, name = setting.split(".")
    held = measured
    for section in sections:
        held = held[section]
    held[name] = [99, seen[-1]]
    assert not stood_before(SHIPPED, claim, measured)
    held[name] = [99]
    assert stood_before(SHIPPED, claim, measured)
    later = claim.model_copy(update={"seen": {setting: [98, 99]}})
    assert not stood_before(SHIPPED, later, measured)
    del held[name]
    assert not stood_before(SHIPPED, claim, measured)


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nope\.yaml: no such"):
        read_claims(tmp_path / "nope.yaml")
    (tmp_path / "bad.yaml").write_text("claims: [")
    with pytest.raises(UserError, match=r"bad\.yaml: not valid YAML"):
        read_claims(tmp_path / "bad.yaml")


def test_every_setting_that_a_rule_may_name_is_a_number_and_handed_to_the_command():
    settings = validate({})
    handed = parse_slice(json.dumps(pick(settings, SLICES["claims"])))
    for name in [*get_args(Reference), "1 - statistics.confidence"]:
        assert 0 < number_of(name, handed) == number_of(name, settings) < 1
    assert number_of("statistics.equivalence_margin", settings) == 0.02
    assert number_of("1 - statistics.confidence", settings) == pytest.approx(0.05)
    assert number_of(-0.5, settings) == -0.5


def test_margins_that_are_settings_already_are_named_and_not_repeated():
    for claim in SHIPPED.claims:
        bounds = claim.rule.model_dump(exclude={"kind", "to"}).values()
        if claim.rule.kind == "equivalent" and claim.unit == "nats per token":
            assert list(bounds) == ["statistics.equivalence_margin"], claim.id
        if claim.effect == "slope":
            assert list(bounds) == ["convergence.slope_margin"]
        if claim.effect == "gap_closed":
            assert list(bounds) == ["statistics.gap_fraction"]
    assert {family.level for family in SHIPPED.families.values()} == {"1 - statistics.confidence"}


def test_claims_are_counted_by_number_with_letters_where_there_are_several():
    content = {
        "families": CONTENT["families"],
        "fresh_seeds": CONTENT["fresh_seeds"],
        "claims": [
            CONTENT["claims"][0] | {"id": name, "number": number}
            for name, number in (("a", 1), ("b", 3), ("c", 2), ("d", 3), ("e", 3))
        ],
    }
    found = labels(Claims.model_validate(content))
    assert found == {"a": "1", "b": "3a", "c": "2", "d": "3b", "e": "3c"}


def test_the_shipped_claims_cover_the_issue_in_order_and_say_what_they_must():
    numbers = [claim.number for claim in SHIPPED.claims]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, 18))
    for claim in SHIPPED.claims:
        assert claim.statement.endswith("."), claim.id
        assert claim.interval or claim.family == "counted", claim.id
        if claim.number == 12:
            assert claim.check, claim.id
