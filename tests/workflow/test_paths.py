# SPDX-License-Identifier: Apache-2.0
"""The workflow runs wherever it lies, and on files and keys of any name."""

import json
import shlex

import pytest

from tests.data.texts import write_texts
from tests.workflow.conftest import copy_project

pytestmark = pytest.mark.slow

STRANGE = "run{1} br{x}ace ' \" $(touch pwned) %s [a] ü {"


@pytest.fixture
def strange(tmp_path):
    return copy_project(tmp_path / STRANGE)


def test_braces_in_a_folder_a_file_or_a_key_are_no_wildcards(strange):
    texts = [{"{key}": path.read_text()} for path in write_texts(strange.folder / "t").iterdir()]
    (strange.folder / "te{x}ts").mkdir()
    file = strange.folder / "te{x}ts" / "a{1}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in texts))
    corpus = "results/smoke/data/corpus/manifest.json"
    data = ("--config", 'data={corpus: text, path: "te{x}ts", text_key: "{key}"}')
    strange.snakemake(corpus, *data)
    made = json.loads((strange.folder / corpus).read_text())
    assert sum(map(len, made["documents"].values())) == len(texts)
    assert strange.planned(corpus, *data) == {}
    file.write_text(file.read_text() + json.dumps({"{key}": "one more"}) + "\n")
    assert strange.planned(corpus, *data) == {"corpus": 1}
    assert not (strange.folder / "pwned").exists()


def test_from_another_folder_the_rules_of_the_claims_are_found(strange, tmp_path):
    elsewhere = tmp_path / "else{w}here"
    elsewhere.mkdir()
    printed = strange.snakemake("-n", "-p", "--directory", str(elsewhere))
    rules = strange.folder / "config/claims.yaml"
    assert f"--rules {shlex.quote(str(rules))} --measured" in printed
