# SPDX-License-Identifier: Apache-2.0
"""Causal attention by the implementation that suits the device and the type.

Ours is in the form that CPUs are quick at (`infwidth.models.fast_ops`), its gradient written out.

Shapes: B sequences of T tokens, N = B·T, D residual stream, K heads of dimension C = D/K. In scores
and weights [s, q], token q looks at token s.
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

from infwidth.config.errors import UserError
from infwidth.config.section import NumericsSettings

Implementation = Literal["plain", "xla", "cudnn"]


def chosen_implementation(numerics: NumericsSettings, C: int) -> Implementation:
    """What a setting comes to for heads of C rows on this process's devices; `plain` is ours.

    Raises:
      UserError: cuDNN was asked for and cannot.
    """
    if numerics.attention == "auto":
        if numerics.compute_dtype == "float32":
            return "plain" if jax.default_backend() == "cpu" else "xla"
        return "cudnn" if _cudnn_can(C) else "xla"
    if numerics.attention == "cudnn" and not _cudnn_can(C):
        raise UserError(
            "model.numerics.attention: 'cudnn' needs an NVIDIA GPU of compute capability 8.0 or "
            f"more, and heads of a dimension that 8 divides, at most 128 (here {C}); set 'auto'"
        )
    return numerics.attention


def attend(
    q_DxN: jax.Array,
    k_DxN: jax.Array,
    v_DxN: jax.Array,
    heads: int,
    T: int,
    implementation: Implementation,
    dtype: jax.typing.DTypeLike,
) -> jax.Array:
    """`causal_attention` by any implementation.

    All but `plain` multiply factors of `dtype`; the softmax is float32.
    """
    if implementation == "plain":
        return causal_attention(q_DxN, k_DxN, v_DxN, heads, T)
    D, N = q_DxN.shape

    def split_heads(x_DxN: jax.Array) -> jax.Array:
        x_KxCxBxT = x_DxN.astype(dtype).reshape(heads, D // heads, N // T, T)
        return jnp.transpose(x_KxCxBxT, (2, 3, 0, 1))

    mixed_BxTxKxC = jax.nn.dot_product_attention(
        *(split_heads(x_DxN) for x_DxN in (q_DxN, k_DxN, v_DxN)),
        is_causal=True,
        scale=1.0,
        implementation=implementation,
    )
    return jnp.transpose(mixed_BxTxKxC, (2, 3, 0, 1)).reshape(D, N).astype(q_DxN.dtype)


def _cudnn_can(C: int) -> bool:
    device = jax.devices()[0]
    if device.platform != "gpu" or "cuda" not in device.client.platform_version:
        return False
    return int(device.compute_capability.split(".")[0]) >= 8 and C % 8 == 0 and C <= 128


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def causal_attention(
    q_DxN: jax.Array, k_DxN: jax.Array, v_DxN: jax.Array, heads: int, T: int
) -> jax.Array:
    """For each head and token q, Σ_{s ≤ q} softmax_s(k_s·q_q) v_s, in mixed_DxN.

    Heads of C rows lie one below the other, sequences of T columns side by side.
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
