# SPDX-License-Identifier: Apache-2.0
"""What models of other architectures share: a wide layer of any shape, and the trunk's matrices."""

import math
from collections.abc import Callable
from typing import get_args

import jax
from flax import nnx

from infwidth.config.variants import Features as FeatureTreatment
from infwidth.models.features import BIAS_SHIFT, FeatureMLP
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

    Returns:
      The function that a model calls.

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


def drawn_trunk(rngs: nnx.Rngs, shape: tuple[int, ...], fan_in: int) -> Trunk:
    """A parameter of the trunk, N(0, 1/fan_in), from the stream `trunk`."""
    return Trunk(jax.random.normal(rngs.trunk(), shape) / math.sqrt(fan_in))
