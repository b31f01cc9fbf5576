# SPDX-License-Identifier: Apache-2.0
"""The infinite-width MLP, as a layer of a transformer.

Shapes: N inputs (the tokens of a batch), D input and output dimension, d = D + 1, E = D outputs;
S steps for which there is room, B blocks of K inputs seen.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from infwidth.config.settings import ModelSettings
from infwidth.infinite.kernel_sum import kernel_sum
from infwidth.infinite.room import steps_with_room
from infwidth.infinite.support import Support, block_shape, one_step
from infwidth.models.features import feature_bias
from infwidth.models.variables import Features, Readout


class InfiniteMLP(nnx.Module):
    """f(x) = E_ω[M_ω relu(ω·x̃/√d)], where M was trained from 0: f(x) = Σ_i c_i Θ(x, x_i).

    The inputs seen stand for the features ω, and belong to their group of variables; their errors
    and the vectors q of docs/theory.md, equation (10), stand for the readout M. It takes what it
    is given in `see`, and computes the same function as a `FeatureMLP` of width H does for H → ∞.
    """

    def __init__(self, d_model: int, tokens: int, *, bias: float | None = None):
        """Makes room for the first steps; f is 0.

        Args:
          d_model: D.
          tokens: inputs a step, N.
          bias: b, the constant appended to every input; None means √D/2.
        """
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
        """Takes a step's inputs and errors into its slots; there must be room.

        f stays as it is until q has a row for the step.

        Args:
          x_DxN: the batch's inputs.
          delta_ExN: ∂L/∂f at each of them.
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
    """Says how each block of a transformer makes its MLP of infinite width.

    Args:
      settings: shape of the model.
      tokens: inputs a step, N.

    Returns:
      A function from the random streams, of which none is used, to the layer.

    Raises:
      ValueError: the readout is to start at something other than 0, of which no coefficients know,
        or to write elsewhere than to the residual stream.
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

    Args:
      x_DxN: the batch's inputs.
      delta_ExN: their errors.
      bias: b.

    Returns:
      square_E, not negative.

    References:
      docs/theory.md, equations (3) and (9).
    """
    # With the coefficients −δ the layer's value is −Σ_l δ_l Θ(x, x_l).
    f_ExN = kernel_sum(x_DxN, one_step(x_DxN, delta_ExN, bias), bias)
    return jnp.maximum(-jnp.sum(delta_ExN * f_ExN, axis=1), 0)
