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
MANIFEST = {
    "files": {},
    "digest": "d",
    "vocabulary": {"size": 258},
    "corpus": {"statement": {"text": "some corpus"}},
}
STALE = [
    "results/lm_width/tuning/frozen.json",
    "results/lm_width/train/ntk-4.json",
    "results/lm_width/train/.ntk-16.123.json",
]


@pytest.fixture
def collected(monkeypatch):
    """By call the files whose entries were collected."""
    lists = []

    def collect(entries, dataset, runs):
        lists.append([entry["file"] for entry in entries])
        return {}

    monkeypatch.setattr(lm_width_measurements, "collect", collect)
    return lists


def write_all(project, names):
    for name in names:
        content = {"selection": {}, "entries": [{"file": name}]}
        project.write(name, json.dumps(content))


def test_stale_files_are_passed_over(project, collected):
    write_all(project, (*TUNED, *TRAINED, *STALE))
    project.write("results/data/tokens/manifest.json", json.dumps(MANIFEST))
    assert project.run("collect")[0] == 0
    assert collected == [[*TUNED, *TRAINED]]


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        (TUNED[1], "infwidth tune --variant constant"),
        (TRAINED[0], "infwidth train --variant ntk --widths 4_8"),
        (TRAINED[2], "infwidth train --variant constant --widths 0"),
    ],
)
def test_a_planned_file_that_is_missing_is_one_line(project, collected, missing, command):
    write_all(project, {*TUNED, *TRAINED} - {missing})
    status, _, error = project.run("collect")
    said = f"infwidth: {missing} is missing: run `{command}` first, {AS_BEFORE}\n"
    assert (status, error) == (2, said)
    assert collected == []
