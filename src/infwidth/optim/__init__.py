"""Optax transformations for models whose width may be infinite: ADAM* and functional gradients."""

from infwidth.optim.adam_star import adam_star, scale_by_adam_star
from infwidth.optim.functional import clip_by_functional_norm, scale_by_width

__all__ = ["adam_star", "clip_by_functional_norm", "scale_by_adam_star", "scale_by_width"]
