# SPDX-License-Identifier: Apache-2.0
"""What a dry run says last."""

import pytest

from tests.workflow.conftest import jobs_of

pytestmark = pytest.mark.slow


def test_a_dry_run_ends_with_its_jobs_by_stage_on_one_screen(fresh):
    output = fresh.snakemake("-n")
    planned = jobs_of(output)
    first, *rows = output.rpartition("\n\n")[2].splitlines()
    counts = {stage: int(count) for count, stage in map(str.split, rows)}
    assert first == f"{sum(planned.values())} jobs to run, by file of workflow/rules/:"
    assert sum(counts.values()) == sum(planned.values())
    assert counts["figures"] == sum(name.startswith("fig") for name in planned)
    assert len(rows) < 23
