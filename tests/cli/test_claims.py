# SPDX-License-Identifier: Apache-2.0
"""`infwidth claims`, by hand and as the workflow calls it."""

import json
import shutil
from pathlib import Path

import pytest

from infwidth.config.load import CLAIMS, pick, validate
from infwidth.config.slices import SLICES
from tests.experiments import memory_synthetic

ROOT = Path(__file__).parents[2]


@pytest.fixture
def measured(project):
    """A folder in which `memory` alone has run."""
    shutil.copy(ROOT / CLAIMS, project.folder / CLAIMS)
    memory_synthetic.write(project.folder / "results/memory/measurements")
    return project


def test_what_has_run_is_judged_and_the_rest_is_not_measured(measured):
    """The page and the table are made from what was judged."""
    assert measured.run("claims")[0] == 0
    claims = json.loads((measured.folder / "results/claims.json").read_text())["claims"]
    by_experiment = {each["claim"]["experiment"]: each["verdict"] for each in claims}
    assert by_experiment["memory"] != "not measured"
    assert {word for name, word in by_experiment.items() if name != "memory"} == {"not measured"}
    page = (measured.folder / "results/claims.md").read_text()
    assert "[fig\u00a011](../paper_figures/fig11_memory.png)" in page
    assert "[measurements](memory/measurements)" in page
    assert "[rule](../config/claims.yaml#L" in page
    assert measured.run("table", "table5_claims")[0] == 0
    text = (measured.folder / "results/tables/table5_claims.md").read_text()
    assert "takes memory in proportion to the inputs seen" in text


def test_as_the_workflow_calls_it_every_path_is_named(measured):
    settings = json.dumps(pick(validate({"name": "mine"}), SLICES["claims"]))
    status, _, error = measured.run(
        *("claims", "--settings", settings, "--out", "results/mine"),
        *("--measured", "memory=results/memory/measurements"),
        *("--figures", "paper_figures/mine", "--tables", "results/mine/tables"),
    )
    assert (status, error) == (0, "")
    page = (measured.folder / "results/mine/claims.md").read_text()
    assert "(../../paper_figures/mine/fig11_memory.png)" in page
    assert "(../memory/measurements)" in page
    assert "(../../config/claims.yaml#L" in page
    assert "Configuration: `mine`" in page


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--measured", "memory"), "write EXPERIMENT=FOLDER"),
        (("--measured", "memory=nowhere"), "nowhere"),
        (("--measured", "memroy=results"), "no claim is of memroy (known: lm_width, "),
        (("--rules", "config/none.yaml"), "config/none.yaml"),
    ],
)
def test_a_mistake_is_one_line(measured, words, said):
    assert said in measured.mistake("claims", *words)


def test_nothing_to_judge_is_one_line(measured):
    shutil.rmtree(measured.folder / "results/memory")
    assert "nothing is measured; run `make reproduce` first" in measured.mistake("claims")
