# SPDX-License-Identifier: Apache-2.0
"""Models of images with a wide layer: an MLP, a CNN and an RNN, which train by every variant.

Shapes: P pixels, D residual stream (C channels), E classes, N images, H width.
"""

import math
from collections.abc import Callable
from typing import get_args

import jax
import jax.numpy as jnp
from flax import nnx

from infwidth.config.variants import Features as FeatureTreatment
from infwidth.models.features import BIAS_SHIFT, FeatureMLP
from infwidth.models.transformer import LayerNorm
from infwidth.models.variables import Trunk

MakeLayer = Callable[[int, int, nnx.Rngs], FeatureMLP | None]
"""From the numbers of inputs and outputs, and the streams, to a wide layer; None leaves it out."""


def layer_maker(features: FeatureTreatment, width: int) -> MakeLayer:
    """Says how a model makes its wide layer.

    f(x) = (1/H) Σ_h M_h relu(ω_h·x̃/√d), as in the transformer (`FeatureMLP`), but with any number
    of outputs. M is 0 at the start, so that f is 0 at every width, as in the limit.

    The scale of normalized features is defined for inputs of mean square 1: a model hands its layer
    normalized inputs (`LayerNorm`), whose mean square is 1 until the norm's scale has trained.

    Args:
      features: how the features are treated; `none` leaves the layer out.
      width: H.

    Raises:
      ValueError: no such treatment.
    """
    if features not in get_args(FeatureTreatment):
        raise ValueError(f"features must be one of {get_args(FeatureTreatment)}: {features}")

    def make(inputs: int, outputs: int, rngs: nnx.Rngs) -> FeatureMLP | None:
        if features == "none":
            return None
        return FeatureMLP(
            inputs,
            width,
            outputs=outputs,
            normalized=features == "normalized",
            bias_shift=BIAS_SHIFT if features == "shifted" else 0.0,
            rngs=rngs,
        )

    return make


class ImageModel(nnx.Module):
    """What the models share: a wide layer f beside its input, y = e + f(norm(e)).

    All else is the trunk: embeddings, norms' scales and the head. It is the same whatever the wide
    layer is, which draws from streams of its own.
    """

    def _add_wide_layer(
        self, inputs: int, dimension: int, make_layer: MakeLayer, rngs: nnx.Rngs
    ) -> None:
        """Draws what all have but embedding and head; a feature sees so many inputs."""
        self.norm = LayerNorm(dimension)
        self.feature_inputs = inputs
        layer = make_layer(inputs, dimension, rngs)
        self.is_wide = layer is not None
        if layer is not None:
            self.layer_norm, self.layer = LayerNorm(dimension), layer

    def _plus_wide_layer(self, y_DxN: jax.Array) -> jax.Array:
        return y_DxN + self.layer(self.layer_norm(y_DxN)) if self.is_wide else y_DxN


def _drawn(rngs: nnx.Rngs, shape: tuple[int, ...], fan_in: int) -> Trunk:
    """N(0, 1/fan_in), from the stream `trunk`."""
    return Trunk(jax.random.normal(rngs.trunk(), shape) / math.sqrt(fan_in))


class ResidualMLP(ImageModel):
    """e = A x, y = e + f(norm(e)), logits = B norm(y); f is the wide layer, its H units hidden.

    Without the wide layer the model is linear up to a norm.
    """

    def __init__(
        self, pixels: int, dimension: int, classes: int, make_layer: MakeLayer, *, rngs: nnx.Rngs
    ):
        """Draws the parameters, of P, D and E, from `infwidth.models.transformer.STREAMS`."""
        self.embedding_DxP = _drawn(rngs, (dimension, pixels), fan_in=pixels)
        self.head_ExD = _drawn(rngs, (classes, dimension), fan_in=dimension)
        self._add_wide_layer(dimension, dimension, make_layer, rngs)

    def __call__(self, x_PxN: jax.Array) -> jax.Array:
        """Computes logits_ExN of images, one a column."""
        y_DxN = self._plus_wide_layer(jnp.dot(self.embedding_DxP[...], x_PxN))
        return jnp.dot(self.head_ExD[...], self.norm(y_DxN))


FILTER = 3
"""Positions along each side of a CNN's filter."""


class ConvNet(ImageModel):
    """y_p = e_p + f(patch of norm(e) around p) at each position p, then pooling and a head.

    e is a convolution of 2 × 2 pixels at a stride of 2 to C channels, at S = R/2 positions a side
    of an image of P = R² pixels. A patch is 3 × 3 positions; beyond the border the nearest position
    is repeated, so that every patch has mean square 1, as the scale of normalized features assumes.
    f is the wide layer: a filter g_ω is one of its H units, and its readout M, the same at every
    position, has C outputs. y is normalized at each position, averaged over each quarter of the
    image, and read by the head from the four averages.

    Without the wide layer the model sees no further than 2 × 2 pixels before it pools.
    """

    def __init__(
        self, pixels: int, channels: int, classes: int, make_layer: MakeLayer, *, rngs: nnx.Rngs
    ):
        """Draws the parameters, of P, C and E.

        Raises:
          ValueError: the side of an image is no multiple of 4.
        """
        side = math.isqrt(pixels)
        if side**2 != pixels or side % 4:
            raise ValueError(f"the side of an image must be a multiple of 4, not {pixels}^½")
        self.positions = side // 2
        self.embedding_Cx4 = _drawn(rngs, (channels, 4), fan_in=4)
        self.head_Ex4C = _drawn(rngs, (classes, 4 * channels), fan_in=4 * channels)
        self._add_wide_layer(FILTER**2 * channels, channels, make_layer, rngs)

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


class RecurrentNet(ImageModel):
    """v_t = h_t + A x_t, h_{t+1} = v_t + f(norm(v_t)); logits = B norm(h_T). x_t is row t of R.

    f is the wide layer, the same at every one of T = P/R steps: the cell's units see state and row
    in v_t, and the readout M writes back into the state.

    The trunk has the first state h_0, too, drawn so that no blank row leaves a zero to be
    normalized. Without the wide layer the state is a sum over rows, whatever their order.
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
        """Draws the parameters, of P, D, E and R.

        Raises:
          ValueError: R does not divide P.
        """
        if pixels % row:
            raise ValueError(f"rows of {row} do not divide {pixels} pixels")
        self.row = row
        self.embedding_DxR = _drawn(rngs, (dimension, row), fan_in=row)
        self.start_D = _drawn(rngs, (dimension,), fan_in=1)
        self.head_ExD = _drawn(rngs, (classes, dimension), fan_in=dimension)
        self._add_wide_layer(dimension, dimension, make_layer, rngs)

    def __call__(self, x_PxN: jax.Array) -> jax.Array:
        """Computes logits_ExN of images, one a column, pixels row by row."""
        N = x_PxN.shape[1]
        embedding_DxR = self.embedding_DxR[...]

        def cell(h_DxN: jax.Array, x_RxN: jax.Array) -> tuple[jax.Array, None]:
            return self._plus_wide_layer(h_DxN + jnp.dot(embedding_DxR, x_RxN)), None

        start_DxN = jnp.tile(self.start_D[...][:, None], (1, N))
        h_DxN, _ = jax.lax.scan(cell, start_DxN, x_PxN.reshape(-1, self.row, N))
        return jnp.dot(self.head_ExD[...], self.norm(h_DxN))
