# SPDX-License-Identifier: Apache-2.0
"""C4 in the workflow: a job a shard, and nothing at all without the data."""

import pytest

from tests.data.c4 import c4_texts, write_json_shards

TOKENS = "results/smoke/data/tokens/manifest.json"
C4 = "data={corpus: c4, path: c4/en, c4: {train_shards: 2}}"


@pytest.mark.slow
def test_shards_are_jobs_and_without_the_data_there_are_none(fresh):
    output = fresh.snakemake("-n", TOKENS, "--config", C4, status=2)
    assert "no C4 in" in output
    assert "download from allenai/c4" in output
    assert "Traceback" not in output

    write_json_shards(fresh.folder / "c4/en", c4_texts(train=3, validation=2))
    planned = fresh.planned(TOKENS, "--config", C4)
    assert planned == {"corpus": 1, "vocabulary": 1, "shard": 4, "tokenize": 1}
