# SPDX-License-Identifier: Apache-2.0
"""docs/extending.md's walk through a new rule is made, edit by edit, and trains."""

from pathlib import Path

import pytest

from tests.workflow.conftest import copy_project

EDITS = [
    (
        "src/infwidth/config/variants.py",
        '    "momentum",\n',
        '    "momentum",\n    "nesterov",\n',
    ),
    (
        "src/infwidth/config/variants.py",
        "SGD_LIKE: tuple[Readout, ...] = (",
        'SGD_LIKE: tuple[Readout, ...] = ("nesterov", ',
    ),
    (
        "src/infwidth/training/rules.py",
        '    if name == "sgd":',
        '    if name == "nesterov":\n'
        "        return optax.trace(decay=training.b1, nesterov=True)\n"
        '    if name == "sgd":',
    ),
    (
        "src/infwidth/config/variants.py",
        '    "constant": ',
        '    "nesterov": Variant("fixed", "nesterov", "NTK (Nesterov)", '
        '"which part of ADAM* helps?"),\n    "constant": ',
    ),
]


def test_the_page_shows_the_edits():
    page = " ".join(Path("docs/extending.md").read_text().split())
    for _, old, new in EDITS:
        added = new.replace(old, "").strip()
        assert " ".join(added.split()) in page


@pytest.mark.slow
def test_the_edits_make_a_variant_that_trains(tmp_path):
    checkout = copy_project(tmp_path / "project")
    for file, old, new in EDITS:
        checkout.edit(file, old, new)
    checkout.snakemake(
        "results/smoke/lm_width/tuning/nesterov.json",
        "--config",
        "lm_width={variants: [nesterov]}",
    )
    assert (checkout.folder / "results/smoke/lm_width/tuning/nesterov.json").exists()
