# SPDX-License-Identifier: Apache-2.0
"""Optax transformations for models whose width may be infinite: ADAM* and functional gradients."""

from infwidth.optim.adam_star import adam_star, scale_by_adam_star
from infwidth.optim.axes import Stacked
from infwidth.optim.functional import clip_by_functional_norm, scale_by_width
from infwidth.optim.measured_scales import on_measured_scales
from infwidth.optim.star_rules import (
    adagrad_star,
    muon_star,
    nadam_star,
    rmsprop_star,
    scale_by_adagrad_star,
    scale_by_muon_star,
    scale_by_rms_star,
    sgd,
)

__all__ = [
    "Stacked",
    "adagrad_star",
    "adam_star",
    "clip_by_functional_norm",
    "muon_star",
    "nadam_star",
    "on_measured_scales",
    "rmsprop_star",
    "scale_by_adagrad_star",
    "scale_by_adam_star",
    "scale_by_muon_star",
    "scale_by_rms_star",
    "scale_by_width",
    "sgd",
]
