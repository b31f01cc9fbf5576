# SPDX-License-Identifier: Apache-2.0
"""Settings: every mistake is one line, and what a command may read is what its rule declares."""

import json
import re
from pathlib import Path

import pytest

from infwidth.config.errors import UserError
from infwidth.config.load import merge, parse_slice, pick, read_config, restrict, validate
from infwidth.config.settings import Settings
from infwidth.config.slices import SLICES
from infwidth.layout import Layout

MISTAKES = {
    "unknown top key": ({"lm_widht": {}}, ["lm_widht", "did you mean 'lm_width'", "statistics"]),
    "unknown nested key": ({"lm_width": {"seed": [1]}}, ["lm_width.seed", "did you mean 'seeds'"]),
    "ill-typed": ({"model": {"d_model": "wide"}}, ["model.d_model", "valid integer", "'wide'"]),
    "width 0": ({"lm_width": {"widths": [0]}}, ["lm_width.widths.0", "greater than or equal to 1"]),
    "width twice": ({"lm_width": {"widths": [64, 64]}}, ["lm_width.widths", "64 is given twice"]),
    "no seeds": ({"lm_width": {"seeds": []}}, ["lm_width.seeds", "at least 1"]),
    "one rate": (
        {"lm_width": {"tuning": {"learning_rates": [0.1]}}},
        ["lm_width.tuning.learning_rates", "at least 2"],
    ),
    "same seeds": (
        {"lm_width": {"seeds": [0], "tuning": {"seeds": [0]}}},
        ["lm_width", "seed 0", "tuning.seeds"],
    ),
    "a seed that is another one modulo 2³²": (
        {"lm_width": {"seeds": [5, 2**32 + 5]}},
        ["lm_width.seeds.1", "less than 4294967296", "4294967301"],
    ),
    "unknown variant": ({"lm_width": {"variants": ["ntkk"]}}, ["ntkk", "known: unfrozen"]),
    "heads": ({"model": {"heads": 3}}, ["heads (3) must divide d_model"]),
    "no path": ({"data": {"corpus": "text"}}, ["data.path"]),
    "not a choice": ({"data": {"vocabulary": "byte"}}, ["data.vocabulary", "'bytes'"]),
    "not a section": ({"lm_width": 3}, ["lm_width", "3"]),
    "chunks": ({"training": {"steps": 120, "log_every": 50}}, ["multiple of log_every"]),
    **{
        f"{key} twice": (
            {"lm_width": {"tuning": {key: values}}},
            [f"lm_width.tuning.{key}", f"{values[-1]} is given twice"],
        )
        for key, values in (
            ("learning_rates", ["1", 1.0]),
            ("seeds", [0, 0]),
            ("kappas", [1, 1.0]),
            ("trunk_factors", [2, 2.0]),
        )
    },
    "race below tolerance": (
        {"lm_width": {"tuning": {"race_margin": 0.001}}},
        ["lm_width.tuning", "race_margin 0.001 is below tolerance 0.002", "raise race_margin"],
    ),
    "not finite": (
        {"training": {"trunk_learning_rate": float("inf")}},
        ["training.trunk_learning_rate", "finite"],
    ),
    "not a number": ({"statistics": {"power": ".nan"}}, ["statistics.power", "'.nan'"]),
    "true is not 1": ({"model": {"layers": True}}, ["model.layers", "true is not a value here"]),
    "true is not 1 in a list": (
        {"lm_width": {"seeds": [5, False]}},
        ["lm_width.seeds", "false is not a value here"],
    ),
    "a name that is taken": ({"name": "published"}, ["name", "results/published/ has a use"]),
    "two": ({"a": 1, "b": 2}, ["unknown key 'a'", "1 more mistake"]),
}


def said(function, *arguments):
    """The one line of a refusal."""
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_that_names_the_key(name):
    config, words = MISTAKES[name]
    text = said(validate, config)
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize(
    ("wrong", "more"), [(1, "'x')"), (2, "(and 1 more mistake)"), (3, "(and 2 more mistakes)")]
)
def test_the_first_of_several_mistakes_is_told_and_the_others_are_counted(wrong, more):
    values = dict.fromkeys(("steps", "batch_size", "log_every")[:wrong], "x")
    assert said(validate, {"training": values}).endswith(more)


def test_values_that_arrive_as_text_are_coerced_and_booleans_taken_where_they_are_meant():
    settings = validate({"lm_width": {"seeds": ["5", "6"]}, "model": {"feature_bias": "null"}})
    assert settings.lm_width.seeds == [5, 6]
    assert settings.model.feature_bias is None
    settings = validate({"retrain": "true", "statistics": {"judge": False}})
    assert (settings.retrain, settings.statistics.judge) == (True, False)


def test_merge_replaces_lists_and_merges_maps():
    base = {"a": {"b": [1, 2], "c": 3}, "d": 4}
    assert merge(base, {"a": {"b": [9]}}) == {"a": {"b": [9], "c": 3}, "d": 4}
    assert base["a"]["b"] == [1, 2]


def test_a_section_that_is_given_in_part_keeps_the_defaults_of_its_place():
    tuning = validate({"ladder": {"tuning": {"seeds": [7]}}}).ladder.tuning
    assert tuning == Settings().ladder.tuning.model_copy(update={"seeds": [7]})


def test_overrides_have_the_form_of_snakemake():
    config = read_config([], ["lm_width={seeds: [7]}", "name=mine"])
    settings = validate(config)
    assert (settings.lm_width.seeds, settings.name) == ([7], "mine")


def test_an_override_without_a_value_is_one_line_with_an_example_that_is_valid():
    line = said(read_config, [], ["lm_width"])
    assert "KEY=VALUE" in line
    _, example, _ = line.split("'")
    assert validate(read_config([], [example])).lm_width.seeds == [10, 11]


def test_a_file_that_is_missing_or_no_yaml_in_utf8_is_one_line(tmp_path, monkeypatch):
    assert re.search(
        r"nope\.yaml: no such .*config/quick\.yaml", said(read_config, [tmp_path / "nope.yaml"])
    )
    (tmp_path / "bad.yaml").write_text("a: [1\nb: }")
    assert "bad.yaml: not valid YAML" in said(read_config, [tmp_path / "bad.yaml"])
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9t\xe9")
    assert "latin.yaml: not UTF-8 " in said(read_config, [tmp_path / "latin.yaml"])
    assert "cannot be read (Is a directory)" in said(read_config, [tmp_path])
    monkeypatch.chdir(tmp_path)
    line = said(read_config)
    assert re.search(r"config\.yaml: no such .* \(none here: run this in a chec", line)


@pytest.mark.parametrize("override", ["training={steps: [0", "name=2024-13-45"])
def test_an_override_that_is_not_yaml_is_one_line(override):
    words = f"--config {override.split('=')[0]}: not valid YAML: "
    assert said(read_config, [], [override]).startswith(words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", "'a' is in line 1 and again in line 3"),
        ("a:\n  b: 1\n  c: 2\n  b: 1", "'b' is in line 2 and again in line 4"),
        ("a:\n- c: 1\n- b: 1\n  'b': 2", "'b' is in line 3 and again in line 4"),
        ("{x: &x {b: 1,\nb: 2}, y: *x}", "'b' is in line 1 and again in line 2"),
    ],
)
def test_a_key_that_is_given_twice_is_one_line_with_both_places(text, words, tmp_path):
    (tmp_path / "twice.yaml").write_text(text)
    for source, given in (
        (f"{tmp_path}/twice.yaml", ([tmp_path / "twice.yaml"],)),
        ("--config name", ([], [f"name={text}"])),
    ):
        assert said(read_config, *given) == f"{source}: {words}; give each key once"


def test_a_merge_key_may_bring_what_is_overridden(tmp_path):
    (tmp_path / "merge.yaml").write_text("x: &x {a: 1, b: 2}\ny: {<<: *x, a: 3}")
    assert read_config([tmp_path / "merge.yaml"])["y"] == {"a": 3, "b": 2}


@pytest.mark.parametrize("name", ["config", "quick", "smoke", "paper"])
def test_every_shipped_configuration_is_valid_and_says_what_to_expect(name):
    text = Path(f"config/{name}.yaml").read_text()
    validate(read_config([f"config/{name}.yaml"]))
    head = text[: text.index("\nname:")]
    for word in ("Command:", "Hardware:", "Wall time:", "Expect:"):
        assert word in head


@pytest.mark.parametrize("command", SLICES)
def test_a_command_reads_its_slice_alone_by_hand_and_from_the_workflow(command):
    settings = Settings()
    by_hand = restrict(settings, SLICES[command])
    handed_over = parse_slice(json.dumps(pick(settings, SLICES[command])))
    assert by_hand == handed_over
    for name in Settings.model_fields:
        if any(path.split(".")[0] == name for path in SLICES[command]):
            getattr(by_hand, name)
        else:
            with pytest.raises(AttributeError):
                getattr(by_hand, name)


def test_a_slice_is_narrow_inside_a_section():
    limited = restrict(Settings(), SLICES["gather memory"])
    assert limited.training.batch_size == Settings().training.batch_size
    with pytest.raises(AttributeError):
        _ = limited.training.steps


@pytest.mark.parametrize(
    "folder",
    sorted(
        {
            path.parts[1]
            for path in vars(Layout("default")).values()
            if len(path.parts) > 1 and path.parts[0] == "results" and not path.suffix
        }
    ),
)
def test_a_configuration_is_not_called_like_a_folder_of_the_default(folder):
    assert f"results/{folder}/ has a use of its own" in said(validate, {"name": folder})


def test_the_default_configuration_shows_what_is_changed_first_and_its_defaults():
    shown = read_config()
    assert validate(shown) == Settings()
    assert shown["data"].keys() >= {"corpus", "vocabulary"}
    assert shown["training"].keys() >= {"steps", "batch_size"}
    assert shown["lm_width"].keys() >= {"variants", "widths", "seeds", "tuning"}
