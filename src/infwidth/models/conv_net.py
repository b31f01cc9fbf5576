# SPDX-License-Identifier: Apache-2.0
"""A CNN: its features are H convolution filters, read at every position.

Shapes: P = R² pixels, S = R/2 positions a side, C channels, E classes, N images, H width.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from infwidth.models.transformer import LayerNorm
from infwidth.models.wide_layer import MakeLayer, drawn_trunk

FILTER = 3
"""Positions along each side of a filter."""


class ConvNet(nnx.Module):
    """y_p = e_p + f(patch of norm(e) around p) at each position p, then pooling and a head.

    e is a convolution of 2 × 2 pixels at a stride of 2 to C channels. A patch is 3 × 3 positions;
    beyond the border the nearest position is repeated, so that every patch has mean square 1, as
    the scale of normalized features assumes. f is the wide layer: a filter g_ω is one of its H
    units, and its readout M, the same at every position, has C outputs. y is normalized at each
    position, averaged over each quarter of the image, and read by the head from the four averages.

    Trunk: the first convolution, both norms' scales, the head. Without the wide layer the model
    sees no further than 2 × 2 pixels before it pools.
    """

    def __init__(
        self, pixels: int, channels: int, classes: int, make_layer: MakeLayer, *, rngs: nnx.Rngs
    ):
        """Draws the parameters.

        Args:
          pixels: P, those of a square image whose side is a multiple of 4.
          channels: C.
          classes: E.
          make_layer: of `layer_maker`.
          rngs: streams named as in `infwidth.models.transformer.STREAMS`; the trunk's parameters
            are the same whatever the wide layer is.

        Raises:
          ValueError: the side is no multiple of 4.
        """
        side = math.isqrt(pixels)
        if side**2 != pixels or side % 4:
            raise ValueError(f"the side of an image must be a multiple of 4, not {pixels}^½")
        self.positions = side // 2
        self.embedding_Cx4 = drawn_trunk(rngs, (channels, 4), fan_in=4)
        self.head_Ex4C = drawn_trunk(rngs, (classes, 4 * channels), fan_in=4 * channels)
        self.norm = LayerNorm(channels)
        self.feature_inputs = FILTER**2 * channels
        layer = make_layer(self.feature_inputs, channels, rngs)
        self.is_wide = layer is not None
        if layer is not None:
            self.layer_norm, self.layer = LayerNorm(channels), layer

    def __call__(self, x_PxN: jax.Array) -> jax.Array:
        """Computes logits_ExN of images, one a column, pixels row by row."""
        S, N = self.positions, x_PxN.shape[1]
        x_Sx2xSx2xN = x_PxN.reshape(S, 2, S, 2, N)
        x_4xSSN = x_Sx2xSx2xN.transpose(1, 3, 0, 2, 4).reshape(4, S * S * N)
        y_CxSSN = jnp.dot(self.embedding_Cx4[...], x_4xSSN)
        if self.is_wide:
            patch_FxSSN = self._patches(self.layer_norm(y_CxSSN), N)
            y_CxSSN = y_CxSSN + self.layer(patch_FxSSN)
        y_CxSSN = self.norm(y_CxSSN)
        C = y_CxSSN.shape[0]
        pooled_Cx2x2xN = y_CxSSN.reshape(C, 2, S // 2, 2, S // 2, N).mean(axis=(2, 4))
        return jnp.dot(self.head_Ex4C[...], pooled_Cx2x2xN.reshape(4 * C, N))

    def _patches(self, z_CxSSN: jax.Array, N: int) -> jax.Array:
        """The F = 9 C numbers around each position, in columns."""
        S, C = self.positions, z_CxSSN.shape[0]
        margin = FILTER // 2
        border = ((0, 0), (margin, margin), (margin, margin), (0, 0))
        z_CxTxTxN = jnp.pad(z_CxSSN.reshape(C, S, S, N), border, mode="edge")
        shifted = [z_CxTxTxN[:, i : i + S, j : j + S] for i in range(FILTER) for j in range(FILTER)]
        return jnp.concatenate(shifted).reshape(self.feature_inputs, S * S * N)
