# SPDX-License-Identifier: Apache-2.0
"""The rules that the ablation alone asks for, by the words of `infwidth.config.variants`."""

from collections.abc import Callable

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


def ablation_rule(name: str, training: TrainingSettings) -> optax.GradientTransformation:
    """A rule for the readout's functional gradient, without its learning rate.

    Args:
      name: a word of `infwidth.config.variants.Readout`.
      training: β1, β2 and ε.

    Raises:
      ValueError: no rule has this name.
    """
    b1, b2, eps = training.b1, training.b2, training.eps
    rules: dict[str, Callable[[], optax.GradientTransformation]] = {
        "rms_star": lambda: scale_by_rms_star(b2, eps),
        "adam_star_global": lambda: scale_by_adam_star(b1, b2, eps, second_moment="global"),
        "adam_star_factored": lambda: scale_by_adam_star(b1, b2, eps, second_moment="factored"),
        "adam_star_uncorrected": lambda: scale_by_adam_star_uncorrected(b1, b2, eps),
        "nadam_star": lambda: scale_by_nadam_star(b1, b2, eps),
        "adagrad_star": lambda: scale_by_adagrad_star(eps),
        "muon_star": lambda: scale_by_muon_star(b1),
    }
    if name not in rules:
        raise ValueError(
            f"no rule is named {name!r}; known are {', '.join(rules)} and those of rules.py"
        )
    return rules[name]()
