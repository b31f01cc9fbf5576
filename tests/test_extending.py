# SPDX-License-Identifier: Apache-2.0
"""docs/extending.md's walk through a new rule is made, edit by edit; it trains and is planned."""

import json
from pathlib import Path

import pytest

from tests.workflow.conftest import ROOT, copy_project

EDITS = [
    (
        "src/infwidth/config/variants.py",
        '    "momentum",\n',
        '    "momentum",\n    "nesterov",\n',
    ),
    (
        "src/infwidth/training/rules.py",
        '    "adam_star": Rule(',
        '    "nesterov": Rule(\n'
        "        lambda t: optax.chain(optax.trace(t.b1, nesterov=True), "
        "optax.scale(1 / (1 + t.b1))),\n"
        "        in_gradients=True,\n"
        "    ),\n"
        '    "adam_star": Rule(',
    ),
    (
        "src/infwidth/artifact/planning/sizes.py",
        '        "momentum": (m, 0),\n',
        '        "momentum": (m, 0),\n        "nesterov": (m, 0),\n',
    ),
    (
        "src/infwidth/config/variants.py",
        '"control of the normalised features"\n    ),\n',
        '"control of the normalised features"\n    ),\n'
        '    "nesterov": Variant("fixed", "nesterov", "NTK (Nesterov)", '
        '"which part of ADAM* helps?"),\n',
    ),
]


def test_the_page_shows_the_edits():
    page = " ".join(Path("docs/extending.md").read_text().split())
    for file, old, new in EDITS:
        added = new.replace(old, "").strip()
        assert " ".join(added.split()) in page
        assert f"`{file}`" in page


@pytest.mark.slow
def test_the_edits_make_a_variant_that_trains_and_is_planned(tmp_path):
    checkout = copy_project(tmp_path / "project")
    for file, old, new in EDITS:
        checkout.edit(file, old, new)
    own = ("--config", "optimizer_ablation={variants: [nesterov], contexts: []}")

    def planned():
        plan = checkout.run("infwidth", "plan", "--json", "--configfile", "config/smoke.yaml", *own)
        rows = {row["experiment"]: row["states"] for row in json.loads(plan)["experiments"]}
        return rows["optimizer_ablation"]

    assert planned() == {"new": 2, "waits": 2}
    checkout.snakemake("results/smoke/optimizer_ablation/parts/base-nesterov.json", *own)
    assert planned() == {"done": 4}
    # The page of costs is of the default, which runs every row, and of what is published.
    published = checkout.folder / "results/published"
    published.symlink_to(ROOT / "results/published")
    checkout.run("infwidth", "plan", "--page")
    assert (checkout.folder / "docs/costs.md").exists()
