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
    return _plain(weight_AxB, x_BxN) if compute == "float32" else _mixed(weight_AxB, x_BxN)


@jax.custom_vjp
def _plain(weight_AxB: jax.Array, x_BxN: jax.Array) -> jax.Array:
    return jnp.dot(weight_AxB, x_BxN)


def _plain_backward(residuals: tuple, g_AxN: jax.Array) -> tuple:
    weight_AxB, x_BxN = residuals
    # A copy of its own: CPUs are a third slower at products that read the left factor by columns.
    weight_BxA = jax.lax.optimization_barrier(weight_AxB.T)
    return jnp.dot(g_AxN, x_BxN.T), jnp.dot(weight_BxA, g_AxN)


_plain.defvjp(lambda *factors: (_plain(*factors), factors), _plain_backward)


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
