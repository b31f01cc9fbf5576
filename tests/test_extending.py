"""docs/extending.md's walk through a new rule is made, edit by edit, and trains."""

from pathlib import Path

import pytest

from tests.workflow.conftest import copy_project

EDITS = [
    (
        "src/infwidth/config/variants.py",
        'Readout = Literal["adam", "sgd", "adam_star", "none"]',
        'Readout = Literal["adam", "sgd", "momentum", "adam_star", "none"]',
    ),
    (
        "src/infwidth/training/rules.py",
        '    if name == "sgd":',
        '    if name == "momentum":\n        return optax.trace(decay=training.b1)\n'
        '    if name == "sgd":',
    ),
    (
        "src/infwidth/config/variants.py",
        '    "constant": ',
        '    "momentum": Variant("fixed", "momentum", "NTK (momentum)", '
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
        "results/smoke/lm_width/tuning/momentum.json",
        "--config",
        "lm_width={variants: [momentum]}",
    )
    assert (checkout.folder / "results/smoke/lm_width/tuning/momentum.json").exists()
