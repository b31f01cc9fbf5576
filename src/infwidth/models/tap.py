# SPDX-License-Identifier: Apache-2.0
"""A tap on a layer's output: the sum of squares of its errors, at hand as a gradient.

Shapes: E outputs, N columns, one a token.
"""

import jax
import jax.numpy as jnp


@jax.custom_vjp
def tapped(f_ExN: jax.Array, tap_E: jax.Array) -> jax.Array:
    """Returns f as it is, and makes Σ_i δ_ie², δ_i = ∂L/∂f(x_i), the gradient of `tap_E`.

    The gradient is no derivative, and not linear in the loss: of a mean over n equal parts of a
    batch, one after the other, the sum of squares is that of the parts by n².

    Args:
      f_ExN: a layer's output.
      tap_E: anything; of no effect on the value.

    Returns:
      f_ExN.
    """
    del tap_E
    return f_ExN


def _forward(f_ExN: jax.Array, tap_E: jax.Array) -> tuple[jax.Array, None]:
    del tap_E
    return f_ExN, None


def _backward(residuals: None, delta_ExN: jax.Array) -> tuple[jax.Array, jax.Array]:
    del residuals
    return delta_ExN, jnp.sum(jnp.square(delta_ExN), axis=1)


tapped.defvjp(_forward, _backward)
