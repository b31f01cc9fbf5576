"""Models at exactly infinite width, trained in coefficient space, in the vocabulary of optax."""

from infwidth.infinite.aliases import adam_star, rmsprop_star, sgd
from infwidth.infinite.gradient import (
    FunctionalGradient,
    KernelTransformation,
    apply_updates,
    chain,
)
from infwidth.infinite.readout import Readout, ReadoutState, train_coefficients
from infwidth.infinite.refused import (
    adam,
    adamw,
    clip,
    lion,
    rmsprop,
    scale_by_adam,
    scale_by_rms,
    scale_by_sign,
    sign_sgd,
)
from infwidth.infinite.rules import (
    clip_by_functional_norm,
    decay_weights,
    scale_by_adam_star,
    scale_by_learning_rate,
    scale_by_rms_star,
    trace,
)
from infwidth.infinite.saving import load, save

__all__ = [
    "FunctionalGradient",
    "KernelTransformation",
    "Readout",
    "ReadoutState",
    "adam",
    "adam_star",
    "adamw",
    "apply_updates",
    "chain",
    "clip",
    "clip_by_functional_norm",
    "decay_weights",
    "lion",
    "load",
    "rmsprop",
    "rmsprop_star",
    "save",
    "scale_by_adam",
    "scale_by_adam_star",
    "scale_by_learning_rate",
    "scale_by_rms",
    "scale_by_rms_star",
    "scale_by_sign",
    "sgd",
    "sign_sgd",
    "trace",
    "train_coefficients",
]
