# SPDX-License-Identifier: Apache-2.0
import pytest

from infwidth.training.microbatches import microbatch_count


@pytest.mark.parametrize(
    ("sequences", "context", "count"),
    [(32, 64, 4), (8, 64, 1), (1, 4096, 1), (7, 1000, 7), (6, 200, 3), (12, 128, 3)],
)
def test_least_divisor_whose_microbatches_fit(sequences, context, count):
    assert microbatch_count(sequences, context) == count


@pytest.mark.parametrize(("tokens", "count"), [(None, 4), (64, 32), (1, 32), (1024, 2), (4096, 1)])
def test_the_most_tokens_of_a_microbatch_can_be_set(tokens, count):
    assert microbatch_count(32, 64, tokens) == count
