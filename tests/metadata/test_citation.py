# SPDX-License-Identifier: Apache-2.0
"""The citation files say the same, as do the sources of their licence, and are up to date."""

import json
import re
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

import infwidth
from metadata.citation import codemeta, project, zenodo
from metadata.croissant import WHEEL_SHA256, croissant

FILES = ("codemeta.json", ".zenodo.json", "croissant.json")
LICENCE = "Apache-2.0"
SOURCES = ("*.py", "*.smk", "*.sh", "Snakefile", ".ci/run")
CITATION = yaml.safe_load(Path("CITATION.cff").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("path", "content"), list(zip(FILES, (codemeta, zenodo, croissant), strict=True))
)
def test_what_is_written_is_up_to_date(path, content):
    expected = json.dumps(content(), indent=2, ensure_ascii=False) + "\n"
    assert Path(path).read_text(encoding="utf-8") == expected, "run `make metadata`"


def test_the_version_is_one():
    readme = re.search(r"version = \{(.*?)\}", Path("README.md").read_text(encoding="utf-8"))
    written = {
        "CITATION.cff": CITATION["version"],
        "infwidth": infwidth.__version__,
        "README.md": readme[1],
        **{name: json.loads(Path(name).read_text())["version"] for name in FILES},
        "ro-crate-metadata.json": _root_of_crate()["version"],
    }
    assert set(written.values()) == {project()["version"]}, written


def test_the_date_and_licence_are_one():
    dates = {
        json.loads(Path("codemeta.json").read_text())["datePublished"],
        json.loads(Path(".zenodo.json").read_text())["publication_date"],
        _root_of_crate()["datePublished"],
    }
    assert dates == {CITATION["date-released"]}
    assert CITATION["license"] == project()["license"] == LICENCE
    assert Path("LICENSE").read_text(encoding="utf-8").lstrip().startswith("Apache License")


@pytest.mark.skipif(not Path(".git").exists(), reason="which files are ours, git knows")
def test_every_source_file_names_its_licence():
    patterns = [f":(glob)**/{each}" for each in SOURCES]
    listed = subprocess.run(["git", "ls-files", *patterns], capture_output=True, check=True)
    found = set(listed.stdout.decode().splitlines())
    assert {"Snakefile", "workflow/Snakefile", "envs/lock.sh"} <= found
    assert len(found) > 200
    line = f"# SPDX-License-Identifier: {LICENCE}"
    heads = {name: Path(name).read_text(encoding="utf-8").splitlines()[:3] for name in found}
    assert [name for name, head in heads.items() if line not in map(str.strip, head)] == []


def test_the_readme_cites_the_same_paper_and_title():
    readme = Path("README.md").read_text(encoding="utf-8")
    paper = CITATION["preferred-citation"]
    assert f"title   = {{{paper['title']}}}" in readme
    assert f"arXiv:{paper['doi'].rpartition('arXiv.')[2]}" in readme
    quoted = CITATION["title"].replace(" '", " ``").replace("'", "''")
    assert f"title   = {{{quoted}}}" in readme


def test_the_corpus_that_is_cited_is_the_one_of_the_lock():
    (corpus,) = CITATION["references"]
    lock = Path("envs/run.lock").read_text(encoding="utf-8")
    assert f"\n{corpus['title']}=={corpus['version']} " in lock
    assert f"--hash=sha256:{WHEEL_SHA256}" in lock


def test_every_published_table_has_a_record_set_of_its_columns():
    described = {each["@id"]: each["field"] for each in croissant()["recordSet"]}
    tables = {
        "/".join(path.parts[-2:]).removesuffix(".parquet"): path
        for path in Path("results/published/measurements").rglob("*.parquet")
    }
    assert tables.keys() <= described.keys()
    for name, path in tables.items():
        columns = pq.read_schema(path).names
        assert [field["name"] for field in described[name]] == columns


def test_no_person_stands_for_the_software():
    assert [set(author) for author in CITATION["authors"]] == [{"name"}]
    assert codemeta()["author"] == [{"@type": "Organization", "name": "The infwidth authors"}]


def _root_of_crate():
    graph = json.loads(Path("ro-crate-metadata.json").read_text(encoding="utf-8"))["@graph"]
    return next(entity for entity in graph if entity["@id"] == "./")
