"""`infwidth publish` copies a complete run, whole or not at all."""

import hashlib
import json

import pytest

from infwidth.catalogue import FIGURES, TABLES

FILES = [
    *(f"results/{name}/measurements/runs.parquet" for name in sorted(set(FIGURES.values()))),
    *(f"paper_figures/{name}.{end}" for name in FIGURES for end in ("png", "pdf", "json")),
    *(f"results/tables/{name}.{end}" for name in TABLES for end in ("csv", "md", "tex")),
]


@pytest.fixture
def complete(project):
    for name in FILES:
        project.write(name, f"content of {name}")
    return project


def test_the_manifest_describes_every_copy(complete):
    assert complete.run("publish")[0] == 0
    published = complete.folder / "results/published"
    digests = json.loads((published / "manifest.json").read_text())["sha256"]
    assert len(digests) == len(FILES)
    for name, digest in digests.items():
        assert hashlib.sha256((published / name).read_bytes()).hexdigest() == digest


def test_an_earlier_copy_is_replaced_but_not_by_an_incomplete_run(complete):
    assert complete.run("publish")[0] == 0
    copied = complete.folder / "results/published/measurements/lm_width/runs.parquet"
    complete.write("results/lm_width/measurements/runs.parquet", "new")
    (complete.folder / FILES[-1]).rename(complete.folder / "kept")
    status, _, error = complete.run("publish")
    assert (status, error.count("\n")) == (2, 1)
    assert FILES[-1] in error
    assert copied.read_text() == "content of results/lm_width/measurements/runs.parquet"
    (complete.folder / "kept").rename(complete.folder / FILES[-1])
    assert complete.run("publish")[0] == 0
    assert copied.read_text() == "new"


def test_a_folder_with_something_else_in_it_is_left_alone(complete):
    complete.write("results/published/notes.txt", "mine")
    status, _, error = complete.run("publish")
    assert status == 2
    assert "holds notes.txt" in error
