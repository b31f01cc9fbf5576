# SPDX-License-Identifier: Apache-2.0
"""The page of costs is what the plan says now."""

from pathlib import Path

from infwidth.artifact.planning.page import PAGE, costs_page


def test_the_written_page_is_up_to_date():
    assert Path(PAGE).read_text() == costs_page()
