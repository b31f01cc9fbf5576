# SPDX-License-Identifier: Apache-2.0
"""`infwidth publish` copies a complete run, whole or not at all."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from infwidth.artifact.published import Published
from infwidth.catalogue import FIGURES, TABLES, covered
from infwidth.claims.claims import FILE
from infwidth.config.settings import Settings
from infwidth.provenance import SHA256, sha256
from infwidth.stored import write_json, write_table
from infwidth.training.records import Record, write_record
from infwidth.training.spec import key_of
from tests.claims.claims_tables import judged, row
from tests.experiments.studies_synthetic import write as write_study

ROOT = Path(__file__).parents[2]
SMALL = Settings.model_validate(
    {
        "ladder": {"steps": [500, 1500], "vocabularies": ["bytes"], "seeds": [50, 51]},
        "depth": {"widths": [64, 256], "seeds": [50, 51]},
    }
)

SETTINGS = Settings()
FILES = [
    *(f"results/{name}/measurements/runs.parquet" for name in sorted(SETTINGS.experiments)),
    *(
        f"paper_figures/{name}.{end}"
        for name in covered(FIGURES, SETTINGS.experiments)
        for end in ("png", "pdf", "json")
    ),
    *(
        f"results/tables/{name}.{end}"
        for name in covered(TABLES, SETTINGS.experiments)
        for end in ("csv", "md", "tex", "json")
    ),
]
LONG = ("--configfile", "config/long.yaml")


def write(project, name, content):
    """Writes a table, a record of what lies beside it, or a text."""
    path = project.folder / name
    if path.suffix == ".parquet":
        write_table(path, pd.DataFrame({"content": [content]}))
    elif path.suffix == ".json":
        beside = [each for each in path.parent.glob(f"{path.stem}.*") if each != path]
        write_json(path, {SHA256: {each.name: sha256(each) for each in beside}})
    else:
        project.write(name, content)


@pytest.fixture
def complete(project):
    for name in FILES:
        write(project, name, f"content of {name}")
    write_json(project.folder / "results" / FILE, judged(row("a", "worse")).as_json())
    write_run(project.folder / "results/runs", 1)
    return project


def write_run(folder, seed):
    key = key_of({"seed": seed})
    write_record(folder / key, Record({"seed": seed}, {"key": key, "steps": 5}, [{"step": 5}]))


@pytest.fixture
def long(project):
    """A project in which the ladder of the long configuration is complete, and nothing else."""
    for name in ("claims.yaml", "config.yaml"):
        shutil.copy(ROOT / "config" / name, project.folder / "config" / name)
    project.write("config/long.yaml", "name: long\nexperiments: [ladder, depth]\n")
    write_study(project.folder / "results/long/ladder/measurements", "ladder", SMALL)
    write_run(project.folder / "results/long/runs", 1)
    return project


def test_the_manifest_describes_every_copy(complete):
    assert complete.run("publish")[0] == 0
    published = complete.folder / "results/published"
    digests = json.loads((published / "manifest.json").read_text())["sha256"]
    assert digests.keys() >= {"claims.md", "claims.json", "runs.tar.xz"}
    assert len(digests) == len(FILES) + 3
    for name, digest in digests.items():
        assert hashlib.sha256((published / name).read_bytes()).hexdigest() == digest


def test_the_page_of_claims_links_the_copies(complete):
    assert complete.run("publish")[0] == 0
    published = complete.folder / "results/published"
    text = (published / "claims.md").read_text()
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    assert "../../config/claims.yaml" in links
    inside = [link for link in links if not link.startswith("../../config/")]
    assert len(inside) == 5
    assert all((published / link).exists() for link in inside)


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


def test_without_claims_nothing_is_published(complete):
    (complete.folder / "results" / FILE).unlink()
    status, _, error = complete.run("publish")
    assert (status, error.count("\n")) == (2, 1)
    assert "claims.json is missing" in error
    assert not (complete.folder / "results/published").exists()


def test_an_earlier_copy_is_replaced_but_not_by_an_incomplete_run(complete):
    assert complete.run("publish")[0] == 0
    copied = complete.folder / "results/published/measurements/lm_width/runs.parquet"
    write(complete, "results/lm_width/measurements/runs.parquet", "new")
    (complete.folder / FILES[-1]).rename(complete.folder / "kept")
    status, _, error = complete.run("publish")
    assert (status, error.count("\n")) == (2, 1)
    assert FILES[-1] in error
    assert pd.read_parquet(copied)["content"][0].startswith("content of results/lm_width/")
    (complete.folder / "kept").rename(complete.folder / FILES[-1])
    assert complete.run("publish")[0] == 0
    assert pd.read_parquet(copied)["content"][0] == "new"


@pytest.mark.parametrize(
    "name",
    [
        *("paper_figures/fig2_loss_curves.pdf", "paper_figures/fig2_loss_curves.json"),
        *("results/tables/table2_gap_closed.tex", "results/memory/measurements/runs.parquet"),
        "results/claims.json",
    ],
)
def test_what_is_damaged_is_set_aside_and_not_published(complete, name):
    path = complete.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 2
    path.write_bytes(content)
    status, _, error = complete.run("publish")
    assert (status, error.count("\n")) == (2, 1)
    assert error.startswith(f"infwidth: {name} is damaged (")
    assert f"set aside as {path.name}.damaged: run `infwidth reproduce`" in error
    assert not path.exists()
    assert not (complete.folder / "results/published").exists()


def test_a_run_whose_record_is_damaged_is_not_published_and_is_trained_again(complete):
    [metrics] = complete.folder.glob("results/runs/*/metrics.jsonl")
    vouching = complete.folder / "results/lm_width/parts/ntk-64.json"
    write_json(vouching, {"entries": [{"key": metrics.parent.name}]})
    metrics.write_bytes(metrics.read_bytes()[:-9] + b"\n")
    status, _, error = complete.run("publish")
    assert (status, error.count("\n")) == (2, 1)
    assert "ntk-64.json is set aside" in error
    assert not vouching.exists()
    assert not (complete.folder / "results/published").exists()


def test_a_folder_with_something_else_in_it_is_left_alone(complete):
    complete.write("results/published/notes.txt", "mine")
    status, _, error = complete.run("publish")
    assert status == 2
    assert "holds notes.txt" in error


def test_of_the_long_configuration_what_is_complete_is_published_and_the_rest_named(long):
    status, output, _ = long.run("publish", *LONG)
    assert status == 0
    assert re.search(r"ladder +complete, at 0{10}\n", output)
    assert re.search(r"depth +left out: results/long/depth/measurements is not there\n", output)
    published = Published(long.folder / "results/published/long")
    assert published.verify() > 10
    assert published.experiments == ["ladder", "claims"]
    assert published.made(FIGURES) == ["fig13_ladder"]
    text = (published.folder / "claims.md").read_text()
    assert "Configuration: `long`" in text
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    assert "../../../config/claims.yaml" in links
    assert "measurements/ladder" in links
    assert all((published.folder / link).exists() for link in links)


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


def test_nothing_complete_is_one_line(long):
    shutil.rmtree(long.folder / "results/long/ladder")
    status, _, error = long.run("publish", *LONG)
    assert (status, error.count("\n")) == (2, 1)
    assert "results/long/ladder/measurements: not there" in error
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
    status, _, error = long.run("redraw", "fig13_ladder")
    assert (status, error.count("\n")) == (2, 1)
    assert "fig13_ladder: what it is made from is not published" in error


def test_only_the_default_and_the_long_configuration_are_published(complete):
    status, _, error = complete.run("publish", "--config", "name=quick")
    assert (status, error.count("\n")) == (2, 1)
    assert "'quick': what is published is the default" in error
    assert not (complete.folder / "results/published").exists()
