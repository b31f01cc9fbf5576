# SPDX-License-Identifier: Apache-2.0
"""The workflow serves as a module of another, as config/README.md shows it."""

import re

import pytest
import yaml

from infwidth.config.load import validate
from tests.workflow.conftest import ROOT, Checkout

pytestmark = pytest.mark.slow


def shown(language):
    page = (ROOT / "config/README.md").read_text()
    return re.search(rf"```{language}\n(.*?)```", page, re.DOTALL)[1]


@pytest.fixture
def other(tmp_path) -> Checkout:
    """A folder with a Snakefile of its own, the one that the page shows, and a configuration."""
    (tmp_path / "config").mkdir()
    snakefile = shown("python").replace("/path/to/checkout", str(ROOT))
    (tmp_path / "Snakefile").write_text(snakefile)
    smoke = (ROOT / "config/smoke.yaml").read_text()
    mine = smoke.replace("name: smoke", "name: mine").replace(
        "  widths: [4, 8]", "  widths: [4, 12]", 1
    )
    (tmp_path / "config/config.yaml").write_text(mine)
    folder = Checkout(tmp_path)
    folder.environment["PYTHONPATH"] = str(ROOT / "src")
    return folder


def test_a_width_in_the_configuration_of_another_workflow_is_trained(other):
    planned = other.run("snakemake", "-n", "-p")
    assert "results/mine/lm_width/parts/adam_star-4-and-1-more.json" in planned
    assert '"width":12' in planned
    # All of it, from the corpus to the last figure, under names of their own.
    jobs = dict(re.findall(r"^(infwidth_\w+) +(\d+)$", planned, re.MULTILINE))
    assert jobs["infwidth_train_widths"] == "5"
    assert {"infwidth_corpus", "infwidth_claims", "infwidth_fig12_width_limit"} <= jobs.keys()
    # The rules of the claims are this project's, since that folder has none.
    assert str(ROOT / "config/claims.yaml") in planned


def test_a_mistake_there_is_one_line(other):
    other.edit("config/config.yaml", "lm_width:", "lm_widht:")
    output = other.run("snakemake", "-n", status=2)
    assert output.splitlines()[-1].startswith("infwidth: configuration: unknown key 'lm_widht'")


def test_the_targets_that_the_page_names_exist(other):
    listed = other.run("snakemake", "--list").split()
    page = (ROOT / "config/README.md").read_text()
    named = set(re.findall(r"infwidth_[a-z]+", page))
    targets = ("all", "figures", "tables", "train", "paper")
    assert named == {f"infwidth_{target}" for target in targets}
    assert named <= set(listed)


def test_the_configuration_that_the_page_shows_is_valid():
    assert 4096 in validate(yaml.safe_load(shown("yaml"))).lm_width.widths
