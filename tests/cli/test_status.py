# SPDX-License-Identifier: Apache-2.0
"""`infwidth status`: which runs it lists, and under which keys it looks for them."""

from pathlib import Path

import pytest

from infwidth.artifact.planning.runs import Planner, Text
from infwidth.cli import plan
from infwidth.config.errors import AS_BEFORE
from infwidth.config.load import read_config, validate
from infwidth.layout import Layout

TEXT = Text("d", 258, None, 0)
MANIFEST = "results/data/tokens/manifest.json"
# Before tuning: two rates of ntk at three widths, two trunk rates of the control; afterwards two
# seeds at three widths and of the control, one of them at one rate at two other widths.
FIRST, AFTERWARDS = 3 * 2 + 2, 3 * 2 + 2 + 2


def test_every_run_that_is_planned_waits(project):
    code, output, _ = project.run("status")
    assert code == 0
    assert output.splitlines()[-1] == f"{FIRST + AFTERWARDS} waiting"


def test_a_run_is_found_by_its_key(project):
    planner = Planner(validate(read_config([])), Layout("default"), (TEXT, TEXT), "cpu")
    first = next(run for run in planner.runs() if run.role == "trunk")
    run = f"results/runs/{first.spec.key}"
    project.write(f"{run}/metrics.jsonl", '{"step": 20, "loss": 5.0}\n')
    project.write(f"{run}/result.json", '{"status": "done"}')
    code, output, _ = project.run("status")
    assert code == 0
    assert output.splitlines()[-1] == f"1 done, {FIRST - 1 + AFTERWARDS} waiting"


def test_without_tokens_every_run_waits_but_a_damaged_manifest_is_a_mistake(project):
    damaged(project, MANIFEST, "infwidth data tokenize")
    code, output, _ = project.run("status")
    assert code == 0
    assert "No tokens yet" in output


def test_a_damaged_tuning_file_is_one_line(project):
    damaged(project, "results/lm_width/tuning/ntk-4.json", "infwidth tune")


def damaged(project, name, made_by):
    project.write(name, '{"files": ')
    assert project.mistake("status") == (
        f"{name} is damaged (not readable as JSON), set aside as {Path(name).name}.damaged: run "
        f"`{made_by}`, or the workflow, again {AS_BEFORE}"
    )


@pytest.mark.parametrize(
    ("variable", "gpus", "tpu", "platform"),
    [
        ("", 0, False, "cpu"),
        ("", 2, False, "gpu"),
        ("", 0, True, "tpu"),
        ("cpu", 2, True, "cpu"),
        ("cuda,cpu", 2, False, "gpu"),
        ("tpu", 0, True, "tpu"),
    ],
)
def test_the_platform_is_the_one_that_training_would_take(
    monkeypatch, variable, gpus, tpu, platform
):
    from infwidth.training import lease

    monkeypatch.setenv("JAX_PLATFORMS", variable)
    monkeypatch.setattr(lease, "gpu_count", lambda: gpus)
    monkeypatch.setattr(lease, "on_tpu_host", lambda: tpu)
    assert plan.platform_of_runs() == platform
