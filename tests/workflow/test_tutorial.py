# SPDX-License-Identifier: Apache-2.0
"""docs/tutorial.md's commands run, in the order of the page, and do what it says."""

import re
import shlex
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/tutorial.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.slow
def test_its_commands_lead_to_a_variant_of_ones_own(checkout):
    """In a folder in which the page's first command has run already."""
    commands = [shlex.split(block) for block in blocks("sh")]
    assert commands[0] == shlex.split("snakemake --cores 1 --configfile config/smoke.yaml")
    *looks, tune, draw = commands
    for command in looks:
        output = checkout.run(*command)
        if command == commands[0]:
            assert "Nothing to be done" in output
    assert "train_widths" in output
    before = checkout.results()
    (row,) = blocks("py")
    checkout.edit("src/infwidth/config/variants.py", '    "constant": ', f'{row}    "constant": ')
    assert "unfrozen_adam_star" in checkout.run(*tune)
    checkout.run(*draw)
    after = checkout.results()
    assert before.items() < after.items()
    assert "Unfrozen, ADAM*" in (checkout.folder / "src/infwidth/config/variants.py").read_text()
    figure = checkout.folder / "paper_figures/smoke/fig1_loss_vs_width"
    assert "unfrozen_adam_star" in figure.with_suffix(".json").read_text()
