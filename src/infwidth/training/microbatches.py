"""How a batch is cut into microbatches, so that a CPU's caches hold their activations."""

import jax

TOKENS_ON_CPU = 512
"""Tokens of a microbatch: at D 64 and width 256 each activation is then below half a megabyte."""


def microbatch_count(sequences: int, context: int) -> int:
    """The number of equal microbatches that a batch's gradient is summed over.

    Args:
      sequences: B.
      context: T.

    Returns:
      The least divisor of B that leaves microbatches of at most `TOKENS_ON_CPU` tokens, or of one
      sequence; 1 where the backend is not a CPU, which works best on whole batches.
    """
    if jax.default_backend() != "cpu":
        return 1
    return next(
        count
        for count in range(1, sequences + 1)
        if sequences % count == 0
        and (sequences // count * context <= TOKENS_ON_CPU or count == sequences)
    )
