# SPDX-License-Identifier: Apache-2.0
"""Rules that train a readout of infinite width on a stream, where every input is new.

No input comes back, so that all inputs of step s share the vector q_s with which their errors enter
the coefficients, c_i = −δ_i ⊙ q_s, and no momentum need be kept (docs/theory.md, equation (10)).

ADAM*'s exact formula is a reconstruction from what is known of its paper (arXiv 2406.18800).

Shapes: S steps for which there is room, E outputs.
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

StreamRule = Literal["sgd", "adam_star"]
"""Which rule trains a readout on a stream."""


def advance(
    rule: StreamRule,
    q_SxE: jax.Array,
    v_E: jax.Array,
    square_E: jax.Array,
    step: jax.Array,
    rate: jax.Array,
    *,
    b1: float,
    b2: float,
    eps: float,
    decay: jax.typing.ArrayLike = 1.0,
) -> tuple[jax.Array, jax.Array]:
    """Takes one step of SGD or ADAM* on a readout that started at M = 0.

    With t = step + 1, r = η_t / ((1 − β1^t)(√v̂ + ε)) and all steps s ≤ t,

        v ← β2 v + (1 − β2) E_ω[G²]        q_s ← d_t q_s + (1 − β1) β1^{t−s} r

    and for SGD q_s ← d_t q_s, q_t = η_t.

    Args:
      rule: `sgd` or `adam_star`.
      q_SxE: one row a step, rows from `step` on still 0.
      v_E: the running mean of E_ω[G²].
      square_E: E_ω[G²] of this step's batch.
      step: how many steps were taken before.
      rate: η_t.
      b1: β1.
      b2: β2.
      eps: ε.
      decay: d_t, decoupled weight decay's factor.

    Returns:
      The new q_SxE and v_E.

    Raises:
      ValueError: no such rule.

    References:
      docs/theory.md, equation (10), for reconstruction B; equation (7) for SGD.
    """
    if rule not in get_args(StreamRule):
        raise ValueError(f"rule must be one of {get_args(StreamRule)}: {rule}")
    age_S = step - jnp.arange(q_SxE.shape[0], dtype=step.dtype)
    age_S, seen_S = jnp.maximum(age_S, 0), age_S >= 0
    kept_SxE = q_SxE * jnp.asarray(decay, q_SxE.dtype)
    if rule == "sgd":
        return kept_SxE + jnp.where(seen_S & (age_S == 0), rate, 0)[:, None], v_E
    steps = (step + 1).astype(q_SxE.dtype)
    v_E = b2 * v_E + (1 - b2) * square_E
    size_E = rate / ((1 - b1**steps) * (jnp.sqrt(v_E / (1 - b2**steps)) + eps))
    weight_S = jnp.where(seen_S, (1 - b1) * b1 ** age_S.astype(q_SxE.dtype), 0)
    return kept_SxE + weight_S[:, None] * size_E[None, :], v_E
