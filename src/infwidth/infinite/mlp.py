# SPDX-License-Identifier: Apache-2.0
"""The infinite-width MLP, as a layer of a transformer, and the step that trains its readout.

It trains on a stream, where no input comes back: all inputs of step s share the vector q_s with
which their errors enter the coefficients, c_i = −δ_i ⊙ q_s, and no momentum need be kept
(docs/theory.md, equation (10)).

Shapes: N inputs (the tokens of a batch), D input and output dimension, d = D + 1, E = D outputs;
S steps for which there is room, B blocks of K inputs seen.
"""

from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx

from infwidth.config.settings import ModelSettings
from infwidth.infinite.kernel_sum import kernel_sum
from infwidth.infinite.support import Support, block_shape, one_step, steps_with_room
from infwidth.models.features import feature_bias
from infwidth.models.variables import Features, Readout

StreamRule = Literal["sgd", "adam_star"]
"""Which rule trains a readout on a stream."""


class InfiniteMLP(nnx.Module):
    """f(x) = E_ω[M_ω relu(ω·x̃/√d)], where M was trained from 0: f(x) = Σ_i c_i Θ(x, x_i).

    The inputs seen stand for the features ω, and belong to their group of variables; their errors
    and the vectors q of docs/theory.md, equation (10), stand for the readout M. It takes what it
    is given in `see`, and computes the same function as a `FeatureMLP` of width H does for H → ∞.
    """

    def __init__(self, d_model: int, tokens: int, *, bias: float | None = None):
        """Makes room for the first steps, of N tokens each; f is 0, and no bias means √D/2."""
        room = steps_with_room(1, tokens)
        blocks, K = block_shape(tokens)
        self.bias = feature_bias(d_model, bias)
        self.direction_BxKxd = Features(jnp.zeros((room * blocks, K, d_model + 1)))
        self.steps = Features(jnp.zeros((), jnp.int32))
        self.error_BxExK = Readout(jnp.zeros((room * blocks, d_model, K)))
        self.q_SxE = Readout(jnp.zeros((room, d_model)))

    def __call__(self, x_DxN: jax.Array) -> jax.Array:
        """Applies the layer to each column of x_DxN; the gradient flows to x alone."""
        support = Support(
            self.direction_BxKxd[...], self.error_BxExK[...], self.q_SxE[...], self.steps[...]
        )
        return kernel_sum(x_DxN, support, self.bias)

    def see(self, x_DxN: jax.Array, delta_ExN: jax.Array) -> None:
        """Takes a step's inputs and errors ∂L/∂f into its slots, for which there must be room.

        f stays as it is until q has a row for the step.
        """
        new = one_step(x_DxN, delta_ExN, self.bias)
        first = self.steps[...] * new.direction_BxKxd.shape[0]
        for variable, blocks in (
            (self.direction_BxKxd, new.direction_BxKxd),
            (self.error_BxExK, new.error_BxExK),
        ):
            variable.set_value(jax.lax.dynamic_update_slice_in_dim(variable[...], blocks, first, 0))
        self.steps.set_value(self.steps[...] + 1)


def infinite_mlp_maker(settings: ModelSettings, tokens: int) -> Callable[[nnx.Rngs], InfiniteMLP]:
    """How each block of a transformer makes its MLP: from random streams, of which none is used.

    A readout that is to start elsewhere than at 0 is refused: no coefficients know of it.
    """
    if settings.readout_target != "residual":
        raise ValueError(
            "an infinitely wide MLP writes to the residual stream: set model.readout_target to "
            f"'residual'; got {settings.readout_target!r}"
        )
    if settings.readout_init != "zeros":
        raise ValueError(
            "an infinitely wide MLP starts at M = 0: set model.readout_init to 'zeros'; "
            f"got {settings.readout_init!r}"
        )
    return lambda rngs: InfiniteMLP(settings.d_model, tokens, bias=settings.feature_bias)


def squared_gradient(x_DxN: jax.Array, delta_ExN: jax.Array, bias: float) -> jax.Array:
    """E_ω[G²] = Σ_kl δ_k δ_l Θ(x_k, x_l), for each output, of one batch; in blocks.

    See docs/theory.md, equations (3) and (9).
    """
    # With the coefficients −δ the layer's value is −Σ_l δ_l Θ(x, x_l).
    f_ExN = kernel_sum(x_DxN, one_step(x_DxN, delta_ExN, bias), bias)
    return jnp.maximum(-jnp.sum(delta_ExN * f_ExN, axis=1), 0)


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

    and for SGD q_s ← d_t q_s, q_t = η_t; square_E is E_ω[G²] of the batch, rate η_t and decay d_t.
    Rows of q from `step` on are still 0. See docs/theory.md, equation (10), for reconstruction B,
    and (7) for SGD.
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
