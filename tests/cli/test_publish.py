# SPDX-License-Identifier: Apache-2.0
"""`infwidth publish` takes each experiment that is complete, whole or not at all."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from infwidth.artifact.published import Published
from infwidth.catalogue import FIGURES
from infwidth.config.settings import Settings
from infwidth.provenance import SHA256, sha256
from infwidth.stored import load_json, write_json, write_table
from infwidth.training.records import Record, write_record
from infwidth.training.spec import key_of
from tests.experiments.studies_synthetic import write as write_study

ROOT = Path(__file__).parents[2]
SMALL = Settings.model_validate(
    {
        "ladder": {"steps": [500, 1500], "vocabularies": ["bytes"], "seeds": [50, 51]},
        "depth": {"widths": [64, 256], "seeds": [50, 51]},
    }
)
MEMORY = "results/memory/measurements"
LONG = ("--configfile", "config/long.yaml")


@pytest.fixture
def configured(project):
    for name in ("claims.yaml", "config.yaml"):
        shutil.copy(ROOT / "config" / name, project.folder / "config" / name)
    return project


@pytest.fixture
def complete(configured):
    """A project in which one experiment of the default is complete."""
    published = ROOT / "results/published/measurements/memory"
    for path in published.glob("*.parquet"):
        write_table(configured.folder / MEMORY / path.name, pd.read_parquet(path))
    settings = configured.folder / MEMORY / "settings.json"
    write_json(settings, load_json(published / "settings.json"))
    write_run(configured.folder / "results/runs", 1)
    return configured


def write_run(folder, seed):
    key = key_of({"seed": seed})
    write_record(folder / key, Record({"seed": seed}, {"key": key, "steps": 5}, [{"step": 5}]))


@pytest.fixture
def long(configured):
    """A project in which the ladder of the long configuration is complete, and nothing else."""
    configured.write("config/long.yaml", "name: long\nexperiments: [ladder, depth]\n")
    write_study(configured.folder / "results/long/ladder/measurements", "ladder", SMALL)
    write_run(configured.folder / "results/long/runs", 1)
    return configured


def test_the_manifest_describes_every_copy_and_the_page_of_claims_links_them(complete):
    assert complete.run("publish")[0] == 0
    published = complete.folder / "results/published"
    digests = json.loads((published / "manifest.json").read_text())["sha256"]
    assert digests.keys() >= {
        *("claims.md", "claims.json", "runs.tar.xz", "figures/fig11_memory.pdf"),
        *("measurements/memory/settings.json", "tables/table5_claims.tex"),
    }
    for name, digest in digests.items():
        assert hashlib.sha256((published / name).read_bytes()).hexdigest() == digest
    assert links_of(published) >= {"../../config/claims.yaml", "measurements/memory"}


def links_of(published):
    """The links of the page of claims, all of which lead to something."""
    text = (published / "claims.md").read_text()
    links = set(re.findall(r"\]\(([^)#]+)[^)]*\)", text))
    assert all((published / link).exists() for link in links)
    return links


def test_the_published_runs_can_be_imported(complete):
    assert complete.run("publish")[0] == 0
    archive = "results/published/runs.tar.xz"
    assert complete.run("runs", "import", archive)[1] == (
        "results/runs: 0 runs imported, 1 there already\n"
    )
    shutil.rmtree(complete.folder / "results/runs")
    assert complete.run("runs", "import", archive)[1] == (
        "results/runs: 1 runs imported, 0 there already\n"
    )
    assert complete.run("runs", "export", "again.tar.xz")[0] == 0
    assert (complete.folder / "again.tar.xz").read_bytes() == (
        complete.folder / archive
    ).read_bytes()


def test_what_is_damaged_is_set_aside_and_the_earlier_copy_stays(complete):
    assert complete.run("publish")[0] == 0
    published = Published(complete.folder / "results/published")
    [path, *_] = (complete.folder / MEMORY).glob("*.parquet")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 2
    path.write_bytes(content)
    error = complete.mistake("publish")
    assert error.startswith(f"{MEMORY}/{path.name} is damaged (")
    assert f"set aside as {path.name}.damaged: run `infwidth reproduce`" in error
    error = complete.mistake("publish")
    assert f"{path.name} is missing" in error
    assert published.verify() > 5


def test_a_picture_that_is_damaged_is_named(complete):
    picture = complete.folder / "paper_figures/fig11_memory.pdf"
    complete.write("paper_figures/fig11_memory.pdf", "content")
    write_json(picture.with_suffix(".json"), {SHA256: {picture.name: sha256(picture)}})
    picture.write_text("Content")
    error = complete.mistake("publish")
    assert error.startswith("paper_figures/fig11_memory.pdf is damaged (")
    assert not (complete.folder / "results/published").exists()


def test_a_run_whose_record_is_damaged_is_not_published_and_is_trained_again(complete):
    [metrics] = complete.folder.glob("results/runs/*/metrics.jsonl")
    vouching = complete.folder / "results/lm_width/parts/ntk-64.json"
    write_json(vouching, {"entries": [{"key": metrics.parent.name}]})
    metrics.write_bytes(metrics.read_bytes()[:-9] + b"\n")
    error = complete.mistake("publish")
    assert "ntk-64.json is set aside" in error
    assert not vouching.exists()
    assert not (complete.folder / "results/published").exists()


def test_a_folder_with_something_else_in_it_is_left_alone(complete):
    complete.write("results/published/notes.txt", "mine")
    assert "holds notes.txt" in complete.mistake("publish")


def test_what_is_complete_is_published_and_the_rest_named(long):
    status, output, _ = long.run("publish", *LONG)
    assert status == 0
    assert re.search(r"ladder +complete, at 0{10}\n", output)
    assert re.search(r"depth +left out: results/long/depth/measurements is not there\n", output)
    published = Published(long.folder / "results/published/long")
    assert published.verify() > 10
    assert published.experiments == ["ladder", "claims"]
    assert published.made(FIGURES) == ["fig13_ladder"]
    assert "Configuration: `long`" in (published.folder / "claims.md").read_text()
    assert links_of(published.folder) >= {"../../../config/claims.yaml", "measurements/ladder"}


def test_an_experiment_that_was_published_before_stays_with_its_runs(long):
    assert long.run("publish", *LONG)[0] == 0
    ladder = long.folder / "results/published/long/measurements/ladder/runs.parquet"
    before = ladder.read_bytes()
    shutil.rmtree(long.folder / "results/long")
    write_study(long.folder / "results/long/depth/measurements", "depth", SMALL)
    write_run(long.folder / "results/long/runs", 2)
    status, output, _ = long.run("publish", *LONG)
    assert status == 0
    assert re.search(r"ladder +kept as published, at 0{10}\n", output)
    assert ladder.read_bytes() == before
    published = Published(long.folder / "results/published/long")
    published.verify()
    assert published.experiments == ["ladder", "depth", "claims"]
    archive = "results/published/long/runs.tar.xz"
    assert "2 runs imported" in long.run("runs", "import", archive)[1]
    ladder.write_bytes(before[:-1])
    error = long.mistake("publish", *LONG)
    assert "ladder/runs.parquet: not the published file" in error


def test_nothing_complete_is_one_line(long):
    shutil.rmtree(long.folder / "results/long/ladder")
    for words, name in (((), "results/lm_width"), (LONG, "results/long/ladder")):
        error = long.mistake("publish", *words)
        assert f"{name}/measurements: not there" in error
        assert ("`make reproduce CONFIG=config/long.yaml`" in error) == (words == LONG)
    assert not (long.folder / "results/published").exists()


def test_both_are_redrawn_and_the_default_is_published_beside_the_long_one(long, complete):
    assert long.run("publish", *LONG)[0] == 0
    assert complete.run("publish")[0] == 0
    assert Published(complete.folder / "results/published/long").verify() > 10
    status, output, _ = long.run("redraw", "fig13_ladder", "table10_ladder")
    assert status == 0
    assert re.search(r"long/fig13_ladder +same bytes\n", output)
    assert re.search(r"long/table10_ladder +same bytes\n", output)
    assert (long.folder / "results/redrawn/long/figures/fig13_ladder.png").exists()
    shutil.rmtree(long.folder / "results/published/long")
    error = long.mistake("redraw", "fig13_ladder")
    assert "fig13_ladder: what it is made from is not published" in error


def test_only_the_default_and_the_long_configuration_are_published(complete):
    error = complete.mistake("publish", "--config", "name=quick")
    assert "'quick': what is published is the default" in error
    assert not (complete.folder / "results/published").exists()
