"""Parts of the transformer whose gradients are written out, in the order that CPUs are quick at.

Each equals a plain form, its tests' reference; the arithmetic is exact but for rounding.

Shapes: B sequences of T tokens, N = B·T, D residual stream, K heads of dimension C = D/K,
V vocabulary. In scores and weights [s, q], token q looks at token s.
"""

from functools import partial

import jax
import jax.numpy as jnp


@jax.custom_vjp
def look_up(embedding_VxD: jax.Array, tokens_N: jax.Array) -> jax.Array:
    """Looks tokens up.

    Args:
      embedding_VxD: one row a token.
      tokens_N: integers below V.

    Returns:
      x_DxN, one column a token.
    """
    return embedding_VxD[tokens_N].T


def _look_up_forward(embedding_VxD: jax.Array, tokens_N: jax.Array):
    return look_up(embedding_VxD, tokens_N), (tokens_N, embedding_VxD.shape[0])


def _look_up_backward(residuals, gradient_DxN: jax.Array):
    tokens_N, V = residuals
    # Without the barrier the whole chain before it is computed in the scatter's order, 20x slower.
    gradient_NxD = jax.lax.optimization_barrier(gradient_DxN).T
    return jax.ops.segment_sum(gradient_NxD, tokens_N, V), None


look_up.defvjp(_look_up_forward, _look_up_backward)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def causal_attention(qkv_3DxN: jax.Array, heads: int, T: int) -> jax.Array:
    """Mixes the values of each token and of those before it in its sequence.

    Args:
      qkv_3DxN: queries, keys and values; each is K heads of C rows; sequences of T columns lie one
        after the other.
      heads: K.
      T: tokens a sequence.

    Returns:
      mixed_DxN: per head and token q, Σ_{s ≤ q} softmax_s(k_s·q_q/√C) v_s.
    """
    return _attention_forward(qkv_3DxN, heads, T)[0]


def _attention_forward(qkv_3DxN: jax.Array, heads: int, T: int):
    qkv_3xKxCxBxT = qkv_3DxN.reshape(3, heads, -1, qkv_3DxN.shape[1] // T, T)
    q_BxKxCxT, k_BxKxCxT, v_BxKxCxT = jnp.transpose(qkv_3xKxCxBxT, (0, 3, 1, 2, 4))
    q_BxKxCxT = q_BxKxCxT * q_BxKxCxT.shape[2] ** -0.5
    scores_BxKxTxT = jnp.einsum("bkcs,bkcq->bksq", k_BxKxCxT, q_BxKxCxT)
    causal_1x1xTxT = jnp.triu(jnp.ones((1, 1, T, T), bool))
    scores_BxKxTxT = jnp.where(causal_1x1xTxT, scores_BxKxTxT, -jnp.inf)
    # The weights' common factor is left to the C outputs of a query: fewer than its T weights.
    weights_BxKxTxT = jnp.exp(scores_BxKxTxT - jnp.max(scores_BxKxTxT, axis=2, keepdims=True))
    factor_BxKx1xT = 1 / jnp.sum(weights_BxKxTxT, axis=2, keepdims=True)
    mixed_BxKxCxT = jnp.einsum("bkcs,bksq->bkcq", v_BxKxCxT, weights_BxKxTxT) * factor_BxKx1xT
    residuals = q_BxKxCxT, k_BxKxCxT, v_BxKxCxT, weights_BxKxTxT, factor_BxKx1xT, mixed_BxKxCxT
    return _join_heads(mixed_BxKxCxT), residuals


def _attention_backward(heads: int, T: int, residuals, gradient_DxN: jax.Array):
    q_BxKxCxT, k_BxKxCxT, v_BxKxCxT, weights_BxKxTxT, factor_BxKx1xT, mixed_BxKxCxT = residuals
    C = q_BxKxCxT.shape[2]
    g_KxCxBxT = gradient_DxN.reshape(heads, C, -1, T)
    g_BxKxCxT = jnp.transpose(g_KxCxBxT, (2, 0, 1, 3)) * factor_BxKx1xT
    mean_BxKx1xT = jnp.sum(g_BxKxCxT * mixed_BxKxCxT, axis=2, keepdims=True)
    g_BxKxTxT = jnp.einsum("bkcs,bkcq->bksq", v_BxKxCxT, g_BxKxCxT)
    g_BxKxTxT = weights_BxKxTxT * (g_BxKxTxT - mean_BxKx1xT)
    dv_BxKxCxT = jnp.einsum("bkcq,bksq->bkcs", g_BxKxCxT, weights_BxKxTxT)
    dq_BxKxCxT = jnp.einsum("bkcs,bksq->bkcq", k_BxKxCxT, g_BxKxTxT) * C**-0.5
    dk_BxKxCxT = jnp.einsum("bkcq,bksq->bkcs", q_BxKxCxT, g_BxKxTxT)
    return (jnp.concatenate([_join_heads(d) for d in (dq_BxKxCxT, dk_BxKxCxT, dv_BxKxCxT)]),)


def _join_heads(x_BxKxCxT: jax.Array) -> jax.Array:
    B, K, C, T = x_BxKxCxT.shape
    return jnp.transpose(x_BxKxCxT, (1, 2, 0, 3)).reshape(K * C, B * T)


causal_attention.defvjp(_attention_forward, _attention_backward)
