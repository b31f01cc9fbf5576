# SPDX-License-Identifier: Apache-2.0
"""An RNN: its features are the units of the recurrent cell, used at every step.

Shapes: T steps of R numbers (P = T R pixels), D state, E classes, N images, H width.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from infwidth.models.transformer import LayerNorm
from infwidth.models.wide_layer import MakeLayer, drawn_trunk


class RecurrentNet(nnx.Module):
    """v_t = h_t + A x_t, h_{t+1} = v_t + f(norm(v_t)); logits = B norm(h_T). x_t is row t of R.

    f is the wide layer, the same at every step: the cell's units see state and row in v_t, and the
    readout M writes back into the state.

    Trunk: the embedding A of a row, the first state h_0, both norms' scales, the head B. h_0 is
    drawn, so that no blank row leaves a zero to be normalized. Without the wide layer the state is
    a sum over rows, whatever their order.
    """

    def __init__(
        self,
        pixels: int,
        dimension: int,
        classes: int,
        make_layer: MakeLayer,
        *,
        row: int = 8,
        rngs: nnx.Rngs,
    ):
        """Draws the parameters.

        Args:
          pixels: P.
          dimension: D.
          classes: E.
          make_layer: of `layer_maker`.
          row: R, which divides P.
          rngs: streams named as in `infwidth.models.transformer.STREAMS`; the trunk's parameters
            are the same whatever the wide layer is.

        Raises:
          ValueError: R does not divide P.
        """
        if pixels % row:
            raise ValueError(f"rows of {row} do not divide {pixels} pixels")
        self.row = row
        self.embedding_DxR = drawn_trunk(rngs, (dimension, row), fan_in=row)
        self.start_D = drawn_trunk(rngs, (dimension,), fan_in=1)
        self.head_ExD = drawn_trunk(rngs, (classes, dimension), fan_in=dimension)
        self.norm = LayerNorm(dimension)
        self.feature_inputs = dimension
        layer = make_layer(dimension, dimension, rngs)
        self.is_wide = layer is not None
        if layer is not None:
            self.layer_norm, self.layer = LayerNorm(dimension), layer

    def __call__(self, x_PxN: jax.Array) -> jax.Array:
        """Computes logits_ExN of images, one a column, pixels row by row."""
        N = x_PxN.shape[1]
        embedding_DxR = self.embedding_DxR[...]

        def cell(h_DxN: jax.Array, x_RxN: jax.Array) -> tuple[jax.Array, None]:
            v_DxN = h_DxN + jnp.dot(embedding_DxR, x_RxN)
            if self.is_wide:
                v_DxN = v_DxN + self.layer(self.layer_norm(v_DxN))
            return v_DxN, None

        start_DxN = jnp.tile(self.start_D[...][:, None], (1, N))
        h_DxN, _ = jax.lax.scan(cell, start_DxN, x_PxN.reshape(-1, self.row, N))
        return jnp.dot(self.head_ExD[...], self.norm(h_DxN))
