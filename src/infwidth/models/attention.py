# SPDX-License-Identifier: Apache-2.0
"""Causal attention by the implementation that suits the device and the type.

Shapes: B sequences of T tokens, N = B·T, D residual stream, K heads of dimension C = D/K.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from infwidth.config.errors import UserError
from infwidth.config.section import NumericsSettings
from infwidth.models.fast_ops import causal_attention

Implementation = Literal["plain", "xla", "cudnn"]


def chosen_implementation(numerics: NumericsSettings, C: int) -> Implementation:
    """The implementation that a setting comes to on this process's devices.

    Args:
      numerics: the setting and the type of the factors.
      C: dimension of a head.

    Returns:
      `plain` (ours), `xla` or `cudnn`.

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
    """Mixes the values of each token and of those before it in its sequence.

    Args:
      q_DxN: queries, scaled; K heads of C rows each; sequences of T columns one after the other.
      k_DxN: keys.
      v_DxN: values.
      heads: K.
      T: tokens a sequence.
      implementation: which of `chosen_implementation`.
      dtype: of the factors, for all but `plain`; the softmax is float32.

    Returns:
      mixed_DxN, as `infwidth.models.fast_ops.causal_attention`.
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
