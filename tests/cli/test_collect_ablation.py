# SPDX-License-Identifier: Apache-2.0
"""`infwidth optimizer_ablation collect` by hand takes each arm that is planned, once."""

import json

import pandas as pd
import pytest

from infwidth.experiments import recording, run_origins
from infwidth.experiments.optimizer_ablation import measure as optimizer_ablation

PLAN = "optimizer_ablation={variants: [ntk, frozen], contexts: [own_rates], arms_per_job: 2}"
HOME = "results/optimizer_ablation"
JOB, OTHER_JOB = f"{HOME}/parts/base-ntk-and-1-more.json", f"{HOME}/parts/own_rates-ntk.json"


@pytest.fixture
def collected(project, monkeypatch):
    """What is gathered, beside the files that the workflow makes: the arms, and the tables."""
    found = {}

    def gather(parts, runs):
        found["arms"] = [f"{part['context']}-{part['variant']}" for part in parts]
        return {"runs": pd.DataFrame({"key": []})}

    monkeypatch.setattr(optimizer_ablation, "gather", gather)
    monkeypatch.setattr(run_origins, "run_origins", lambda runs, keys: {})
    monkeypatch.setattr(
        recording, "write_measurements", lambda out, tables, settings: found.update(tables)
    )
    manifest = {"files": {}, "digest": "d", "vocabulary": {"size": 258}}
    manifest |= {"corpus": {"statement": {"text": "some corpus"}}}
    project.write("results/data/tokens/manifest.json", json.dumps(manifest))
    write_parts(project, JOB, "base-ntk", "base-frozen")
    write_parts(project, OTHER_JOB, "own_rates-ntk")
    return found


def write_parts(project, name, *arms):
    parts = [dict(zip(("context", "variant"), arm.split("-"), strict=True)) for arm in arms]
    parts = [part | {"selection": {}, "selection_at": {}} for part in parts]
    project.write(name, json.dumps({"arms": parts}))


def collect(project, *words):
    return project.run("optimizer_ablation", "collect", "--config", PLAN, *words)


def test_what_the_workflow_wrote_is_found_and_what_is_not_planned_passed_over(project, collected):
    write_parts(project, f"{HOME}/parts/short-ntk.json", "short-ntk")
    assert collect(project) == (0, "", "")
    assert collected["arms"] == ["base-ntk", "base-frozen", "own_rates-ntk"]


def test_what_was_made_by_hand_is_found(project, collected):
    (project.folder / JOB).unlink()
    for arm in ("base-ntk", "base-frozen"):
        write_parts(project, f"{HOME}/parts/{arm}.json", arm)
    assert collect(project) == (0, "", "")
    assert sorted(collected["arms"]) == ["base-frozen", "base-ntk", "own_rates-ntk"]


def test_an_arm_in_two_files_is_refused_in_a_line_that_names_both(project, collected):
    by_hand = f"{HOME}/parts/base-ntk.json"
    write_parts(project, by_hand, "base-ntk")
    status, _, error = collect(project)
    line = (
        f"infwidth: base-ntk is in {JOB} and in {by_hand}: delete one of them, or name the files "
    )
    assert (status, error) == (2, f"{line}to gather with --parts\n")
    assert collect(project, "--parts", JOB, OTHER_JOB) == (0, "", "")


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        (OTHER_JOB, "own_rates-ntk is missing: run `infwidth optimizer_ablation train --arms own_"),
    ],
)
def test_what_is_planned_and_missing_is_named(project, collected, missing, line):
    (project.folder / missing).unlink()
    status, _, error = collect(project)
    assert status == 2
    assert error.startswith(f"infwidth: {line}")
    assert collected == {}


def test_an_arm_is_trained_once(project):
    status, _, error = project.run(
        *("optimizer_ablation", "train", "--config", PLAN, "--arms", "base-ntk", "base-ntk")
    )
    assert (status, error) == (2, "infwidth: --arms base-ntk: given twice; give each arm once\n")
