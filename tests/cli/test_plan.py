# SPDX-License-Identifier: Apache-2.0
"""`infwidth plan`: which runs it lists, what it finds done, and why the others would run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import infwidth
from infwidth.artifact.planning.plan import make_plan
from infwidth.artifact.planning.runs import Planner, Text
from infwidth.artifact.planning.text import quantity
from infwidth.config.load import read_config, validate
from infwidth.config.settings import Settings
from infwidth.layout import Layout

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
TEXT = Text("d", 258, None, 0)


def _of_lm_width(plan):
    return next(row for row in plan["experiments"] if row["experiment"] == "lm_width")


def _plan(project):
    code, output, _ = project.run("plan", "--json")
    assert code == 0
    return json.loads(output)


def test_what_is_published_has_the_runs_that_its_settings_plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = PUBLISHED / "measurements/lm_width"
    ran = json.loads((folder / "settings.json").read_text())
    settings = Settings(**{name: ran[name] for name in ("data", "model", "training", "lm_width")})
    row = _of_lm_width(make_plan(settings, Layout("default"), "cpu", 0.4))
    made = pd.read_parquet(folder / "runs.parquet")["role"].value_counts()
    for role in ("trunk", "report"):
        assert row["roles"][role] == made[role]


def test_a_run_is_found_by_its_key_and_says_why_it_no_longer_counts(project):
    assert _of_lm_width(_plan(project))["states"] == {"new": 8 + 2, "waits": 3 * 2 + 2}
    planner = Planner(validate(read_config([])), Layout("default"), (TEXT, TEXT), "cpu")
    done, begun, former, *_ = (run.spec for run in planner.runs() if not run.waits)
    project.write(f"results/runs/{done.key}/result.json", "{}")
    project.write(f"results/runs/{begun.key}/checkpoints/10/state", "")
    record = former.record() | {"code": "another"}
    record["software"] = record["software"] | {"jax": "0.1"}
    project.write("results/runs/0123456789abcdef/settings.json", json.dumps(record))
    project.write("results/runs/0123456789abcdef/result.json", "{}")
    plan = _plan(project)
    states = _of_lm_width(plan)["states"]
    assert (states["done"], states["begun"], states["again"]) == (1, 1, 1)
    jax = former.record()["software"]["jax"]
    assert plan["cache"]["again_because_of"] == {f"code, jax 0.1 → {jax}": 1}
    # All of one run's work is done, and half of another's training.
    groups = {(g["group"], g["role"]): g for g in plan["groups"] if g["experiment"] == "lm_width"}
    one = groups["ntk-4", "tuning"]["flops_a_run"]
    left = plan["flops"] - plan["flops_left"]
    assert one < left < 1.5 * one


def _tuned(condition, width, chosen, rates, seeds):
    """What a part of the NTK records of its tuning."""
    place = {"role": "tuning", "width": width, "kappa": None, "trunk_learning_rate": 0.01}
    entries = [place | {"learning_rate": rate, "seed": seed} for rate in rates for seed in seeds]
    selection = {"learning_rate": chosen, "kappa": None}
    part = {"condition": condition, "variant": "ntk", "width": width}
    return part | {"selection": selection, "entries": entries}


def test_what_a_tuning_chose_gives_the_reported_runs_their_keys(project):
    tuned = _tuned("lm_width", 4, 1.0, (0.1, 1.0, 10.0), seeds=[0])
    project.write("results/lm_width/tuning/ntk-4.json", json.dumps({"parts": [tuned]}))
    row = _of_lm_width(_plan(project))
    # Of two other widths the tuning is still to come; their runs at the one rate wait no more.
    assert row["states"] == {"new": 3 + 4 + 2 + 2 + 2 + 2, "waits": 2 * 2}


def test_a_width_that_is_tuned_by_itself_gives_its_own_runs_their_keys(project):
    made = [
        _tuned("own_rates", 256, 3.0, (1.0, 3.0, 10.0), seeds=[0, 1]),
        _tuned("own_rates", 64, 10.0, (1.0, 3.0, 10.0, 30.0), seeds=[0, 1]),
    ]
    text = json.dumps({"parts": made})
    project.write("results/optimizer_ablation/parts/own_rates-ntk-64.json", text)
    settings = Settings(experiments=["optimizer_ablation"])
    planner = Planner(settings, Layout("default"), (TEXT, TEXT), "cpu")
    runs = [run for run in planner.runs() if run.group.startswith("own_rates-ntk-")]
    reported = {run.spec.width: run for run in runs if run.role == "report"}
    assert reported[64].spec.learning_rate == 10.0
    assert reported[1024].waits
    tuned = [(run.spec.width, run.spec.learning_rate) for run in runs if run.role == "tuning"]
    assert tuned.count((64, 30.0)) == 2
    assert (256, 30.0) not in tuned


def test_text_fits_its_columns_and_lists_the_runs_of_a_variant_of_any_table(project):
    one = ("--config", "lm_width={variants: [ntk_measured, constant]}")
    code, output, _ = project.run("plan", "--runs", *one)
    assert code == 0
    assert "(ntk_measured" in output
    assert max(map(len, output.splitlines())) <= 100
    assert "H100 SXM" in output
    assert "constant" in output


@pytest.mark.parametrize("share", ["0", "1.5", "much"])
def test_a_strange_utilisation_is_one_line(project, share):
    said = f"--utilisation {share}: write a number above 0 and at most 1, as in 0.4"
    assert project.mistake("plan", "--utilisation", share) == said


def test_a_damaged_manifest_is_one_line(project):
    project.write("results/data/tokens/manifest.json", "{")
    assert "manifest.json is damaged" in project.mistake("plan")


def test_the_plan_needs_no_jax(project):
    words = (
        "import sys\n"
        "from infwidth.cli.main import main\n"
        "try: main(['plan', '--runs'])\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'jax' not in sys.modules and 'numpy' not in sys.modules"
    )
    here = os.environ | {"PYTHONPATH": str(Path(infwidth.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", words], check=True, capture_output=True, env=here)


@pytest.mark.parametrize(
    ("number", "text"), [(999, "999 "), (999_600, "1.00 M"), (12_345, "12.3 k"), (2e20, "200 E")]
)
def test_quantities_have_three_digits(number, text):
    assert quantity(number) == text
