# SPDX-License-Identifier: Apache-2.0
"""Parts of the transformer whose gradients are written out, in the forms that CPUs are quick at.

Each equals a plain form, its tests' reference, but for rounding. On XLA's CPU backend batched
products are quick where the last axis of the result is long and no operand is read along its first
axis, and a transposed result is slow where the arithmetic before it is fused into the copy.

Shapes: B sequences of T tokens, N = B·T, D residual stream, K heads of dimension C = D/K,
V vocabulary. In scores and weights [s, q], token q looks at token s.
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp


@jax.custom_vjp
def look_up(embedding_VxD: jax.Array, tokens_BxT: jax.Array) -> jax.Array:
    """Looks tokens up.

    Args:
      embedding_VxD: one row a token.
      tokens_BxT: integers below V.

    Returns:
      x_DxN, one column a token, sequence after sequence.
    """
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


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def causal_attention(
    q_DxN: jax.Array, k_DxN: jax.Array, v_DxN: jax.Array, heads: int, T: int
) -> jax.Array:
    """Mixes the values of each token and of those before it in its sequence.

    Args:
      q_DxN: queries, K heads of C rows each; sequences of T columns lie one after the other.
      k_DxN: keys.
      v_DxN: values.
      heads: K.
      T: tokens a sequence.

    Returns:
      mixed_DxN: for each head and token q, Σ_{s ≤ q} softmax_s(k_s·q_q) v_s.
    """
    return _attention_forward(q_DxN, k_DxN, v_DxN, heads, T)[0]


def _attention_forward(q_DxN: jax.Array, k_DxN: jax.Array, v_DxN: jax.Array, heads: int, T: int):
    q_BxKxCxT, v_BxKxCxT = (_split_heads(x_DxN, heads, T) for x_DxN in (q_DxN, v_DxN))
    k_BxKxTxC = _split_heads_transposed(k_DxN, heads, T)
    scores_BxKxTxT = jnp.einsum("bksc,bkcq->bksq", k_BxKxTxC, q_BxKxCxT)
    causal_1x1xTxT = jnp.where(jnp.triu(jnp.ones((1, 1, T, T), bool)), 0.0, -jnp.inf)
    weights_BxKxTxT = jax.nn.softmax(scores_BxKxTxT + causal_1x1xTxT, axis=2)
    mixed_BxKxCxT = jnp.einsum("bkcs,bksq->bkcq", v_BxKxCxT, weights_BxKxTxT)
    return _join_heads(mixed_BxKxCxT), (q_BxKxCxT, k_DxN, v_DxN, weights_BxKxTxT, mixed_BxKxCxT)


def _attention_backward(heads: int, T: int, residuals: tuple, g_DxN: jax.Array) -> tuple:
    q_BxKxCxT, k_DxN, v_DxN, weights_BxKxTxT, mixed_BxKxCxT = residuals
    k_BxKxCxT = _split_heads(k_DxN, heads, T)
    v_BxKxTxC = _split_heads_transposed(v_DxN, heads, T)
    g_BxKxCxT = _split_heads(g_DxN, heads, T)
    mean_BxKx1xT = jnp.sum(g_BxKxCxT * mixed_BxKxCxT, axis=2, keepdims=True)
    g_BxKxTxT = jnp.einsum("bksc,bkcq->bksq", v_BxKxTxC, g_BxKxCxT)
    g_BxKxTxT = weights_BxKxTxT * (g_BxKxTxT - mean_BxKx1xT)
    dq_BxKxCxT = jnp.einsum("bkcs,bksq->bkcq", k_BxKxCxT, g_BxKxTxT)
    dk_BxKxCxT = jnp.einsum("bkcq,bksq->bkcs", q_BxKxCxT, g_BxKxTxT)
    dv_BxKxCxT = jnp.einsum("bkcq,bksq->bkcs", g_BxKxCxT, weights_BxKxTxT)
    return tuple(_join_heads(d_BxKxCxT) for d_BxKxCxT in (dq_BxKxCxT, dk_BxKxCxT, dv_BxKxCxT))


def _split_heads(x_DxN: jax.Array, heads: int, T: int) -> jax.Array:
    x_KxCxBxT = x_DxN.reshape(heads, -1, x_DxN.shape[1] // T, T)
    return jnp.transpose(x_KxCxBxT, (2, 0, 1, 3))


def _split_heads_transposed(x_DxN: jax.Array, heads: int, T: int) -> jax.Array:
    x_KxCxBxT = x_DxN.reshape(heads, -1, x_DxN.shape[1] // T, T)
    return jnp.transpose(x_KxCxBxT, (2, 0, 3, 1))


def _join_heads(x_BxKxCxT: jax.Array) -> jax.Array:
    B, K, C, T = x_BxKxCxT.shape
    return jnp.transpose(x_BxKxCxT, (1, 2, 0, 3)).reshape(K * C, B * T)


causal_attention.defvjp(_attention_forward, _attention_backward)


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
