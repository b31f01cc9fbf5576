# SPDX-License-Identifier: Apache-2.0
"""Models at exactly infinite width, trained in coefficient space, in the vocabulary of optax."""

from infwidth.infinite.aliases import (
    adagrad_star,
    adam_star,
    eigenpro,
    muon_star,
    nadam_star,
    rmsprop_star,
    sgd,
)
from infwidth.infinite.gradient import (
    FunctionalGradient,
    KernelTransformation,
    Updates,
    apply_updates,
    chain,
    of_batch,
    over_data,
)
from infwidth.infinite.preconditioned import scale_by_eigenpro
from infwidth.infinite.readout import Kernel, Loss, Readout, ReadoutState, train_coefficients
from infwidth.infinite.refused import (
    adagrad,
    adam,
    adamw,
    clip,
    lion,
    nadam,
    rmsprop,
    scale_by_adam,
    scale_by_rms,
    scale_by_rss,
    scale_by_sign,
    sign_sgd,
)
from infwidth.infinite.ridge import Solution, posterior_variance, solve
from infwidth.infinite.rules import (
    Schedule,
    clip_by_functional_norm,
    decay_weights,
    scale_by_adam_star,
    scale_by_learning_rate,
    scale_by_rms_star,
    trace,
)
from infwidth.infinite.saving import load, save
from infwidth.infinite.star_rules import (
    scale_by_adagrad_star,
    scale_by_muon_star,
    scale_by_nadam_star,
)

__all__ = [
    "FunctionalGradient",
    "Kernel",
    "KernelTransformation",
    "Loss",
    "Readout",
    "ReadoutState",
    "Schedule",
    "Solution",
    "Updates",
    "adagrad",
    "adagrad_star",
    "adam",
    "adam_star",
    "adamw",
    "apply_updates",
    "chain",
    "clip",
    "clip_by_functional_norm",
    "decay_weights",
    "eigenpro",
    "lion",
    "load",
    "muon_star",
    "nadam",
    "nadam_star",
    "of_batch",
    "over_data",
    "posterior_variance",
    "rmsprop",
    "rmsprop_star",
    "save",
    "scale_by_adagrad_star",
    "scale_by_adam",
    "scale_by_adam_star",
    "scale_by_eigenpro",
    "scale_by_learning_rate",
    "scale_by_muon_star",
    "scale_by_nadam_star",
    "scale_by_rms",
    "scale_by_rms_star",
    "scale_by_rss",
    "scale_by_sign",
    "sgd",
    "sign_sgd",
    "solve",
    "trace",
    "train_coefficients",
]
