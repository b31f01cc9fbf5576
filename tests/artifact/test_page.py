# SPDX-License-Identifier: Apache-2.0
"""The page of costs is what the plan says now, and other pages say the same."""

import re
from pathlib import Path

from infwidth.artifact.planning.text import PAGE, costs_page

DOCS = Path(__file__).parents[2] / "docs"


def test_the_written_page_is_up_to_date():
    assert PAGE.read_text() == costs_page()


def test_the_device_hours_of_the_papers_configuration():
    costs = (DOCS / "costs.md").read_text().split("config/paper.yaml --platform gpu`")[1]
    said = re.findall(r"^\| (.+?) \| ([\d,]+) \|$", (DOCS / "scaling.md").read_text(), re.MULTILINE)
    assert len(said) == 5
    for chip, hours in said:
        (row,) = re.findall(rf"^  {chip} +(\d.*)$", costs, re.MULTILINE)
        # Peaks, hours, memory, sequences: of the hours, the first are in bfloat16.
        peaks = 1 if chip.startswith("TPU") else 3
        assert row.split()[peaks] == hours, chip
