# SPDX-License-Identifier: Apache-2.0
"""Matrix products of float32 parameters with activations, in float32 or with bfloat16 factors.

Shapes: A outputs, B inputs, N columns.
"""

from typing import Literal

import jax
import jax.numpy as jnp

Compute = Literal["float32", "bfloat16"]


def product(weight_AxB: jax.Array, x_BxN: jax.Array, compute: Compute) -> jax.Array:
    """Multiplies; in bfloat16 the factors are rounded, the sums and both gradients are float32.

    Args:
      weight_AxB: parameters.
      x_BxN: activations.
      compute: the type of the factors, in the forward and in the backward pass.

    Returns:
      weight x, A×N.
    """
    if compute == "float32":
        return jnp.dot(weight_AxB, x_BxN)
    return _mixed(weight_AxB, x_BxN)


# Left to itself, JAX would multiply float32 gradients with bfloat16 factors, at float32's speed.
@jax.custom_vjp
def _mixed(weight_AxB: jax.Array, x_BxN: jax.Array) -> jax.Array:
    return _rounded_dot(weight_AxB, x_BxN)


def _mixed_forward(weight_AxB: jax.Array, x_BxN: jax.Array) -> tuple:
    x16_BxN = x_BxN.astype(jnp.bfloat16)
    return _rounded_dot(weight_AxB, x16_BxN), (weight_AxB, x16_BxN)


def _mixed_backward(residuals: tuple, g_AxN: jax.Array) -> tuple:
    weight_AxB, x16_BxN = residuals
    return _rounded_dot(g_AxN, x16_BxN.T), _rounded_dot(weight_AxB.T, g_AxN)


def _rounded_dot(left: jax.Array, right: jax.Array) -> jax.Array:
    left, right = left.astype(jnp.bfloat16), right.astype(jnp.bfloat16)
    return jnp.dot(left, right, preferred_element_type=jnp.float32)


_mixed.defvjp(_mixed_forward, _mixed_backward)
