# SPDX-License-Identifier: Apache-2.0
"""Cross-entropy of next-token prediction.

Shapes: N tokens, V vocabulary.
"""

import jax
import jax.numpy as jnp


def cross_entropy(logits_VxN: jax.Array, targets_N: jax.Array) -> jax.Array:
    """Computes −log softmax(logits)[target] of each column.

    Args:
      logits_VxN: unnormalized log-probabilities.
      targets_N: integers below V.

    Returns:
      losses_N, nats.
    """
    chosen_1xN = jnp.take_along_axis(logits_VxN, targets_N[None, :], axis=0)
    return jax.nn.logsumexp(logits_VxN, axis=0) - chosen_1xN[0]
