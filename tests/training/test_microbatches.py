import pytest

from infwidth.training.microbatches import microbatch_count


@pytest.mark.parametrize(
    ("sequences", "context", "count"),
    [(32, 64, 4), (8, 64, 1), (1, 4096, 1), (7, 1000, 7), (6, 200, 3), (12, 128, 3)],
)
def test_least_divisor_whose_microbatches_fit(sequences, context, count):
    assert microbatch_count(sequences, context) == count
