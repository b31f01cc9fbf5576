# SPDX-License-Identifier: Apache-2.0
"""Parts of the transformer whose gradients are written out, in the forms that CPUs are quick at.

Each equals a plain form, its tests' reference, but for rounding. On XLA's CPU backend batched
products are quick where the last axis of the result is long and no operand is read along its first
axis, and a transposed result is slow where the arithmetic before it is fused into the copy.

Shapes: B sequences of T tokens, N = B·T, D residual stream, E outputs, V vocabulary.
"""

from typing import Literal

import jax
import jax.numpy as jnp


@jax.custom_vjp
def look_up(embedding_VxD: jax.Array, tokens_BxT: jax.Array) -> jax.Array:
    """x_DxN: the rows of tokens as columns, sequence after sequence."""
    return embedding_VxD[tokens_BxT.reshape(-1)].T


def _look_up_forward(embedding_VxD: jax.Array, tokens_BxT: jax.Array) -> tuple:
    return look_up(embedding_VxD, tokens_BxT), (tokens_BxT, embedding_VxD.shape[0])


def _look_up_backward(residuals: tuple, g_DxN: jax.Array) -> tuple:
    tokens_BxT, V = residuals
    g_BxDxT = jnp.swapaxes(g_DxN.reshape(-1, *tokens_BxT.shape), 0, 1)
    # The loop keeps the backward pass of what follows out of the transposition, 2 ms against 0.1.
    g_BxTxD = jax.lax.map(jnp.transpose, g_BxDxT)
    g_NxD = g_BxTxD.reshape(tokens_BxT.size, -1)
    return jax.ops.segment_sum(g_NxD, tokens_BxT.reshape(-1), V), None


look_up.defvjp(_look_up_forward, _look_up_backward)


Compute = Literal["float32", "bfloat16"]


def product(weight_AxB: jax.Array, x_BxN: jax.Array, compute: Compute) -> jax.Array:
    """Weight times x; in bfloat16 factors are rounded, here and in the backward pass.

    The sums and both gradients are float32 all the same.
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


@jax.custom_vjp
def tapped(f_ExN: jax.Array, tap_E: jax.Array) -> jax.Array:
    """Returns f as it is, and makes Σ_i δ_ie², δ_i = ∂L/∂f(x_i), the gradient of `tap_E`.

    The gradient is no derivative, and not linear in the loss: of a mean over n equal parts of a
    batch, one after the other, the sum of squares is that of the parts by n².
    """
    del tap_E
    return f_ExN


def _tapped_forward(f_ExN: jax.Array, tap_E: jax.Array) -> tuple[jax.Array, None]:
    del tap_E
    return f_ExN, None


def _tapped_backward(residuals: None, delta_ExN: jax.Array) -> tuple[jax.Array, jax.Array]:
    del residuals
    return delta_ExN, jnp.sum(jnp.square(delta_ExN), axis=1)


tapped.defvjp(_tapped_forward, _tapped_backward)
