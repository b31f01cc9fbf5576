# SPDX-License-Identifier: Apache-2.0
"""`infwidth collect` by hand takes what the settings plan, no more and no less."""

import json

import pytest

from infwidth.config.errors import AS_BEFORE
from infwidth.experiments.lm_width import collect as lm_width_measurements

TUNED = ["results/lm_width/tuning/ntk.json", "results/lm_width/tuning/constant.json"]
TRAINED = [
    "results/lm_width/train/ntk-4_8.json",
    "results/lm_width/train/ntk-16.json",
    "results/lm_width/train/constant-0.json",
]
STALE = [
    "results/lm_width/tuning/frozen.json",
    "results/lm_width/train/ntk-4.json",
    "results/lm_width/train/.ntk-16.123.json",
]


@pytest.fixture
def collected(monkeypatch):
    """The lists of files with which the measurements are made."""
    lists = []
    monkeypatch.setattr(
        lm_width_measurements,
        "collect",
        lambda settings, dataset, runs, tuning, trained, out: lists.append((tuning, trained)),
    )
    return lists


def test_stale_files_are_passed_over(project, collected):
    for name in (*TUNED, *TRAINED, *STALE):
        project.write(name, json.dumps({"entries": [], "selection": {}}))
    assert project.run("collect")[0] == 0
    [(tuning, trained)] = collected
    assert [str(path) for path in tuning] == TUNED
    assert [str(path) for path in trained] == TRAINED


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        (TUNED[1], "infwidth tune --variant constant"),
        (TRAINED[0], "infwidth train --variant ntk --widths 4_8"),
        (TRAINED[2], "infwidth train --variant constant --widths 0"),
    ],
)
def test_a_planned_file_that_is_missing_is_one_line(project, collected, missing, command):
    for name in {*TUNED, *TRAINED} - {missing}:
        project.write(name, "{}")
    status, _, error = project.run("collect")
    said = f"infwidth: {missing} is missing: run `{command}` first, {AS_BEFORE}\n"
    assert (status, error) == (2, said)
    assert collected == []
