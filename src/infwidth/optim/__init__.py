# SPDX-License-Identifier: Apache-2.0
"""Optax transformations for models whose width may be infinite: ADAM* and functional gradients."""

from infwidth.optim.adam_star import adam_star, scale_by_adam_star
from infwidth.optim.functional import clip_by_functional_norm, scale_by_width
from infwidth.optim.measured_scales import on_measured_scales
from infwidth.optim.star_rules import (
    scale_by_adagrad_star,
    scale_by_adam_star_uncorrected,
    scale_by_muon_star,
    scale_by_nadam_star,
    scale_by_rms_star,
)

__all__ = [
    "adam_star",
    "clip_by_functional_norm",
    "on_measured_scales",
    "scale_by_adagrad_star",
    "scale_by_adam_star",
    "scale_by_adam_star_uncorrected",
    "scale_by_muon_star",
    "scale_by_nadam_star",
    "scale_by_rms_star",
    "scale_by_width",
]
