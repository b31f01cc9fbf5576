# SPDX-License-Identifier: Apache-2.0
"""An MLP: an embedding of the image, a wide hidden layer beside it, a head.

Shapes: P pixels, D embedding, E classes, N images, H width.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from infwidth.models.transformer import LayerNorm
from infwidth.models.wide_layer import MakeLayer, drawn_trunk


class ResidualMLP(nnx.Module):
    """e = A x, y = e + f(norm(e)), logits = B norm(y); f is the wide layer, its H units hidden.

    Trunk: the embedding A, both norms' scales and the head B. Without the wide layer the model is
    linear up to a norm.
    """

    def __init__(
        self, pixels: int, dimension: int, classes: int, make_layer: MakeLayer, *, rngs: nnx.Rngs
    ):
        """Draws the parameters.

        Args:
          pixels: P.
          dimension: D.
          classes: E.
          make_layer: of `layer_maker`.
          rngs: streams named as in `infwidth.models.transformer.STREAMS`; the trunk's parameters
            are the same whatever the wide layer is.
        """
        self.embedding_DxP = drawn_trunk(rngs, (dimension, pixels), fan_in=pixels)
        self.head_ExD = drawn_trunk(rngs, (classes, dimension), fan_in=dimension)
        self.norm = LayerNorm(dimension)
        self.feature_inputs = dimension
        layer = make_layer(dimension, dimension, rngs)
        self.is_wide = layer is not None
        if layer is not None:
            self.layer_norm, self.layer = LayerNorm(dimension), layer

    def __call__(self, x_PxN: jax.Array) -> jax.Array:
        """Computes logits_ExN of images, one a column."""
        y_DxN = jnp.dot(self.embedding_DxP[...], x_PxN)
        if self.is_wide:
            y_DxN = y_DxN + self.layer(self.layer_norm(y_DxN))
        return jnp.dot(self.head_ExD[...], self.norm(y_DxN))
