# SPDX-License-Identifier: Apache-2.0
"""Plain forms of what `infwidth.models.fast_ops` writes out by hand."""

import jax
import jax.numpy as jnp


def causal_attention(q_DxN, k_DxN, v_DxN, heads, T):
    D, N = q_DxN.shape
    q, k, v = (x.reshape(heads, D // heads, N // T, T) for x in (q_DxN, k_DxN, v_DxN))
    scores = jnp.einsum("kcbq,kcbs->kbqs", q, k)
    visible = jnp.tril(jnp.ones((1, 1, T, T), bool))
    weights = jax.nn.softmax(jnp.where(visible, scores, -jnp.inf))
    return jnp.einsum("kbqs,kcbs->kcbq", weights, v).reshape(D, N)


def look_up(embedding_VxD, tokens_BxT):
    one_hot_NxV = jax.nn.one_hot(tokens_BxT.reshape(-1), embedding_VxD.shape[0])
    return (one_hot_NxV @ embedding_VxD).T
