# SPDX-License-Identifier: Apache-2.0
"""`infwidth status`: which runs it lists, and under which keys it looks for them."""

import json

import pytest

from infwidth.cli import status
from infwidth.config.errors import AS_BEFORE

MANIFEST = "results/data/tokens/manifest.json"
# Before tuning: two rates of ntk and two trunk rates of the control; afterwards three widths and
# one width of two seeds, and two rates of sensitivity.
FIRST, AFTERWARDS = 4, 3 * 2 + 2 + 2


def test_every_run_that_is_planned_waits(project):
    code, output, _ = project.run("status")
    assert code == 0
    assert output.splitlines()[-1] == f"{FIRST + AFTERWARDS} waiting"


def test_the_runs_of_a_tuning_are_found_by_the_keys_in_its_file(project):
    entry = {
        "role": "trunk",
        "key": "0123456789abcdef",
        "width": 0,
        "learning_rate": None,
        "kappa": None,
        # No factor with a few decimals leads back to this rate.
        "trunk_learning_rate": 0.01 * 0.33333333,
        "seed": 0,
    }
    tuned = {"selection": {"learning_rate": 0.01, "kappa": None}, "entries": [entry]}
    project.write("results/lm_width/tuning/constant.json", json.dumps(tuned))
    run = f"results/runs/{entry['key']}"
    project.write(f"{run}/metrics.jsonl", '{"step": 20, "loss": 5.0}\n')
    project.write(f"{run}/result.json", '{"status": "done"}')
    code, output, _ = project.run("status")
    assert code == 0
    assert output.splitlines()[-1] == f"1 done, {2 + AFTERWARDS} waiting"


def test_without_tokens_every_run_waits_but_damaged_ones_are_a_mistake(project):
    project.write(MANIFEST, '{"files": ')
    assert project.run("status") == (
        2,
        "",
        f"infwidth: {MANIFEST} is damaged (not readable as JSON), set aside as "
        "manifest.json.damaged: run `infwidth data tokenize`, or the workflow, again "
        f"{AS_BEFORE}\n",
    )
    sizes = {"files": {"train.tokens.npy": {"bytes": 9}}, "digest": "d", "vocabulary": {"size": 1}}
    project.write(MANIFEST, json.dumps(sizes))
    project.write("results/data/tokens/train.tokens.npy", "short")
    code, _, error = project.run("status")
    assert code == 2
    assert "is truncated or edited (5 bytes for 9), and its manifest set aside as" in error
    code, output, _ = project.run("status")
    assert code == 0
    assert "No tokens yet" in output


def test_a_damaged_tuning_file_is_one_line(project):
    project.write("results/lm_width/tuning/ntk.json", '{"selection": {}')
    code, _, error = project.run("status")
    assert code == 2
    assert error == (
        "infwidth: results/lm_width/tuning/ntk.json is damaged (not readable as JSON), set aside "
        "as ntk.json.damaged: run `infwidth tune --variant ntk`, or the workflow, again "
        f"{AS_BEFORE}\n"
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
    assert status.platform_of_runs() == platform
