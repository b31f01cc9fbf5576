# SPDX-License-Identifier: Apache-2.0
"""`infwidth compare`: what agrees with the published results, and what does not, in one line."""

import copy
import json
import shutil
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import yaml

from infwidth.artifact.comparing import require_same_settings
from infwidth.catalogue import LONG_TIER, schemas
from infwidth.config.errors import UserError
from infwidth.experiments.expected_value.measured import load
from infwidth.experiments.registry import REGISTRY
from infwidth.stored import load_json

ROOT = Path(__file__).parents[2]
MEASURED = ROOT / "results/published/measurements"
RAN = ("expected_value", "memory")


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Results of two experiments that are those published, to be tampered with."""
    monkeypatch.chdir(ROOT)
    for name in RAN:
        shutil.copytree(MEASURED / name, tmp_path / name / "measurements")
    return tmp_path


@pytest.fixture
def compare(results, infwidth):
    return partial(infwidth.run, "compare", "results/published", str(results))


@pytest.fixture
def refused(results, infwidth):
    return partial(infwidth.mistake, "compare", "results/published", str(results))


def edit(results, table, change):
    path = results / f"{table.replace('/', '/measurements/')}.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)


def setting(results, change):
    path = results / "memory/measurements/settings.json"
    path.write_text(json.dumps(change(load_json(path))))


def recorded(experiment):
    tier = MEASURED.parent / "long/measurements" if experiment in LONG_TIER else MEASURED
    return load_json(tier / experiment / "settings.json")


def trained_slope(folder):
    """The interval of the exponent of the bias in the width, under SGD."""
    return load(folder).slope("sgd")


def judge_by(monkeypatch, tmp_path, bound):
    """One claim, that the bias falls faster than a bound, under SGD."""
    rules = yaml.safe_load((ROOT / "config/claims.yaml").read_text())
    name = "trained_bias_falls_as_one_over_width"
    (claim,) = (each for each in rules["claims"] if each["id"] == name)
    claim |= {"rule": {"kind": "less", "than": bound}, "scope": ["SGD"]}
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(rules | {"claims": [claim]}))
    monkeypatch.setattr("infwidth.cli.compare.CLAIMS", path)


def other_inits(table):
    """Inits drawn anew from those measured, as another machine might have left them."""
    drawn = table.groupby(["case", "width"]).sample(frac=1, replace=True, random_state=0)
    return table.assign(square=drawn["square"].to_numpy(), product=drawn["product"].to_numpy())


def slower(table):
    """A bias that falls more slowly with width, under SGD."""
    factor = (table["width"] / table["width"].min()).where(table["case"] == "sgd", 1.0)
    return table.assign(square=table["square"] * factor, product=table["product"] * factor)


def test_the_same_numbers_agree_and_what_did_not_run_is_named(compare):
    status, output, error = compare("--exact")
    assert (status, error) == (0, "")
    assert output.count(" identical") == 1 + sum(len(schemas(name)) for name in RAN)
    assert "Not measured here: lm_width, convergence, infinite_lm, " in output
    assert "verdicts are the same; " in output


def test_a_shift_is_found_and_said_in_one_line(compare, results):
    edit(
        results,
        "expected_value/trained",
        lambda table: table.assign(
            square=table["square"].where(table["case"] != "sgd", 1.5 * table["square"])
        ),
    )
    status, output, error = compare()
    assert (status, error.count("\n")) == (1, 1)
    assert error.startswith("infwidth: disagrees: expected_value/trained: square at case sgd, ")
    assert "expected_value/trained" in output
    assert "✗ expected_value/trained: square at case sgd" in output


def test_rounding_passes_but_not_where_every_bit_counts(compare, results):
    edit(
        results,
        "expected_value/trained",
        lambda table: table.assign(square=table["square"] * (1 + 1e-9)),
    )
    status, output, error = compare()
    assert (status, error) == (0, "")
    assert "equal to rounding" in output
    status, _, error = compare("--exact")
    assert status == 1
    assert "rows are not the same to the bit" in error


def test_a_missing_cell_is_named(compare, results):
    edit(results, "memory/state", lambda table: table.iloc[1:])
    status, _, error = compare()
    assert status == 1
    row = pd.read_parquet(MEASURED / "memory/state.parquet").iloc[0]
    place = f"form {row.form}, size {row['size']}, inputs {row.inputs}"
    assert error.startswith(f"infwidth: disagrees: memory/state: not here: {place}")


def test_as_json(compare, results):
    edit(results, "memory/state", lambda table: table.assign(readout=table["readout"] + 1))
    status, output, _ = compare("--json")
    found = json.loads(output)
    assert (status, found["agrees"]) == (1, False)
    words = {f"{each['experiment']}/{each['table']}": each["word"] for each in found["tables"]}
    assert words["memory/state"] == "disagrees"
    assert words["memory/step"] == words["expected_value/fixed"] == "identical"
    assert found["absent"] == [name for name in REGISTRY if name not in (*LONG_TIER, *RAN)]
    assert len(found["claims"]["effects"]) > 0
    assert found["problems"][0].startswith("memory/state: readout at form ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "quick"}, "memory/measurements holds the configuration 'quick'"),
        (
            {"training": {"batch_size": 17}},
            "training.batch_size = 17, and what is published with 16",
        ),
    ],
)
def test_another_configuration_or_setting_is_refused(refused, results, change, said):
    setting(results, lambda settings: settings | change)
    assert said in refused()


@pytest.mark.parametrize("experiment", ["infinite_lm", "optimizer_ablation", "width_limit"])
def test_where_the_numbers_come_from_is_no_setting(experiment):
    published = recorded(experiment)
    here = copy.deepcopy(published)
    here["made_by"] |= {"commit": "0" * 40, "device": "NVIDIA H100", "lock": None, "dirty": True}
    here["runs"] |= {"count": 1, "code": ["0" * 16], "platform": "gpu"}
    next(iter(here["selection"].values()))["trials"][0]["mean_validation_loss"] += 1e-3
    require_same_settings(Path("here"), published, here)
    here["training"]["b2"] = 0.5
    with pytest.raises(UserError, match=r"training\.b2 = 0\.5, and what is published with 0\.98"):
        require_same_settings(Path("here"), published, here)


def test_another_corpus_is_refused():
    published = recorded("infinite_lm")
    with pytest.raises(UserError, match="measured with corpus = one's own text"):
        require_same_settings(Path("here"), published, published | {"corpus": "one's own text"})


def test_a_setting_that_the_code_has_since_got_is_none(compare, results):
    setting(results, lambda settings: settings | {"model": settings["model"] | {"new": 1}})
    assert compare()[0] == 0


@pytest.mark.parametrize(("widths", "status"), [([256, 1024], 2), ([], 0)])
def test_more_may_be_measured_but_not_less(compare, results, widths, status):
    def change(settings):
        more = widths or [*settings["memory"]["widths"], 2**18]
        return settings | {"memory": settings["memory"] | {"widths": more}}

    setting(results, change)
    assert compare()[0] == status


def test_other_software_is_said(compare, results):
    setting(results, lambda s: s | {"software": s["software"] | {"jax": "9.9"}, "commit": "other"})
    status, output, _ = compare()
    assert status == 0
    assert "Other software here (published): jax 9.9 (" in output


@pytest.mark.parametrize("parts", [["made_by"], ["runs"], ["made_by", "runs"]])
def test_other_software_of_a_part_is_said_once(compare, results, parts):
    path = results / "lm_width/measurements"
    shutil.copytree(MEASURED / "lm_width", path)
    changed = recorded("lm_width")
    for part in parts:
        changed[part]["software"]["numpy"] = "9.9"
    (path / "settings.json").write_text(json.dumps(changed))
    status, output, _ = compare()
    assert status == 0
    assert output.count("numpy 9.9 (") == 1


def test_a_verdict_that_moves_while_its_effect_agrees_is_listed(
    compare, results, monkeypatch, tmp_path
):
    folder = results / "expected_value/measurements"
    before = trained_slope(folder).upper
    edit(results, "expected_value/trained", other_inits)
    after = trained_slope(folder).upper
    judge_by(monkeypatch, tmp_path, (before + after) / 2)
    status, output, error = compare()
    assert (status, error) == (0, "")
    words = ("yes", "inconclusive") if before < after else ("inconclusive", "yes")
    said = (
        "verdict moved, no effect disagrees: claim 5 (trained_bias_falls_as_one_over_width): "
        f"{words[0]} published, {words[1]} here"
    )
    assert said in output.splitlines()
    assert "Claims: 0 of 1 verdicts are the same" in output
    found = json.loads(compare("--json")[1])
    assert (found["moved"], found["problems"], found["agrees"]) == ([said], [], True)
    assert len(found["claims"]["verdicts"]) == 1


def test_a_verdict_that_moves_with_its_effect_is_a_problem(compare, results, monkeypatch, tmp_path):
    edit(results, "expected_value/trained", slower)
    judge_by(monkeypatch, tmp_path, -0.75)
    status, output, _ = compare()
    assert status == 1
    assert "✗ claim 5 (trained_bias_falls_as_one_over_width): yes published, no here" in output
    before = trained_slope(MEASURED / "expected_value").estimate
    shift = f"(trained_bias_falls_as_one_over_width) at SGD: {before:.6g} published"
    assert f"✗ claim 5 {shift}" in output
    assert "verdict moved" not in output


def test_where_nothing_was_measured(refused, results):
    for name in RAN:
        shutil.rmtree(results / name)
    assert "nothing was measured here" in refused()


def test_a_published_copy_is_a_folder_of_results_too(compare, results):
    for name in RAN:
        shutil.copytree(MEASURED / name, results / "measurements" / name)
        shutil.rmtree(results / name)
    status, output, _ = compare()
    assert status == 0
    assert "memory/state" in output
