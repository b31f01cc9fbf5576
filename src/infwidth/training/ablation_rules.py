# SPDX-License-Identifier: Apache-2.0
"""The rules that the ablation alone asks for, each named by its word in `config/variants.py`.

A rule is for the readout's functional gradient, without its learning rate.
"""

import optax

from infwidth.config.settings import TrainingSettings
from infwidth.optim.adam_star import scale_by_adam_star
from infwidth.optim.star_rules import (
    scale_by_adagrad_star,
    scale_by_adam_star_uncorrected,
    scale_by_muon_star,
    scale_by_nadam_star,
    scale_by_rms_star,
)


def rms_star(training: TrainingSettings) -> optax.GradientTransformation:
    """ADAM* without momentum."""
    return scale_by_rms_star(training.b2, training.eps)


def adam_star_global(training: TrainingSettings) -> optax.GradientTransformation:
    """ADAM* with one v for all entries."""
    return scale_by_adam_star(training.b1, training.b2, training.eps, second_moment="global")


def adam_star_factored(training: TrainingSettings) -> optax.GradientTransformation:
    """ADAM* with a v of a factor a feature and a factor an output."""
    return scale_by_adam_star(training.b1, training.b2, training.eps, second_moment="factored")


def adam_star_uncorrected(training: TrainingSettings) -> optax.GradientTransformation:
    """ADAM* without bias correction."""
    return scale_by_adam_star_uncorrected(training.b1, training.b2, training.eps)


def nadam_star(training: TrainingSettings) -> optax.GradientTransformation:
    """ADAM* with Nesterov's momentum."""
    return scale_by_nadam_star(training.b1, training.b2, training.eps)


def adagrad_star(training: TrainingSettings) -> optax.GradientTransformation:
    """ADAM* without momentum, its v a sum over all steps."""
    return scale_by_adagrad_star(training.eps)


def muon_star(training: TrainingSettings) -> optax.GradientTransformation:
    """Muon: the orthogonal factor of the momentum."""
    return scale_by_muon_star(training.b1)
