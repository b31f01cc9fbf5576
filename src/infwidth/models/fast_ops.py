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
    gradient_NxD = _transpose_in_strips(gradient_DxN, T=64)
    return jax.ops.segment_sum(gradient_NxD, tokens_N, V), None


def _transpose_in_strips(x_DxN: jax.Array, T: int) -> jax.Array:
    D, N = x_DxN.shape
    x_BxDxT = jnp.swapaxes(x_DxN.reshape(D, N // T, T), 0, 1)
    return jax.lax.map(jnp.transpose, x_BxDxT).reshape(N, D)


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
    causal_1x1xTxT = jnp.triu(jnp.ones((1, 1, T, T), bool))
    weights_BxKxTxT = jax.nn.softmax(jnp.where(causal_1x1xTxT, scores_BxKxTxT, -jnp.inf), axis=2)
    mixed_BxKxCxT = jnp.einsum("bkcs,bksq->bkcq", v_BxKxCxT, weights_BxKxTxT)
    return _join_heads(mixed_BxKxCxT), (q_BxKxCxT, k_DxN, v_DxN, weights_BxKxTxT, mixed_BxKxCxT)


def _attention_backward(heads: int, T: int, residuals, gradient_DxN: jax.Array):
    q_BxKxCxT, k_DxN, v_DxN, weights_BxKxTxT, mixed_BxKxCxT = residuals
    k_BxKxCxT = _split_heads(k_DxN, heads, T)
    v_BxKxTxC = _split_heads_transposed(v_DxN, heads, T)
    g_BxKxCxT = _split_heads(gradient_DxN, heads, T)
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
