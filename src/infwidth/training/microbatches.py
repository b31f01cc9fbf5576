# SPDX-License-Identifier: Apache-2.0
"""How a batch is cut into microbatches, so that a CPU's caches hold their activations."""

TOKENS_ON_CPU = 512
"""Tokens of a microbatch: at D 64 and width 256 each activation is then below half a megabyte."""


def microbatch_count(sequences: int, context: int, tokens: int | None = None) -> int:
    """The least divisor of B that leaves microbatches of at most so many tokens, or of a sequence.

    No number of tokens means `TOKENS_ON_CPU` on a CPU, and no limit elsewhere, where whole batches
    are quickest if they fit.
    """
    most = _tokens_by_default(sequences * context) if tokens is None else tokens
    return next(
        count
        for count in range(1, sequences + 1)
        if sequences % count == 0 and (sequences // count * context <= most or count == sequences)
    )


def _tokens_by_default(batch: int) -> int:
    # Imported here: what plans a run counts microbatches without JAX.
    import jax

    return TOKENS_ON_CPU if jax.default_backend() == "cpu" else batch
