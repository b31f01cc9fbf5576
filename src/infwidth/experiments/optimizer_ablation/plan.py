# SPDX-License-Identifier: Apache-2.0
"""The parts of the ablation: a variant in a context, at the width where it is tuned (no JAX)."""

from typing import Any

from infwidth.config.settings import Settings
from infwidth.experiments.optimizer_ablation.settings import BASE, context_of
from infwidth.experiments.study import Condition, Part, arms, parts_in

_MODEL: dict[str, dict[str, Any]] = {
    "vocabulary_readout": {"readout_target": "vocabulary"},
    "standard": {"readout_init": "ntk"},
}
"""What contexts change in the settings of the model."""


def parts(settings: Settings) -> list[Part]:
    """Every variant in every context, those of the setting of fig1 first."""
    own = settings.optimizer_ablation
    planned = []
    for name in (BASE, *own.contexts):
        row = context_of(name)
        vocabulary: str = settings.data.vocabulary
        if row.other_vocabulary:
            vocabulary = {"bytes": "sentencepiece", "sentencepiece": "bytes"}[vocabulary]
        widths = sorted([own.width, *(own.standard_widths if row.at_widths else [])])
        variants = own.variants if name == BASE else row.variants
        condition = Condition(
            name=name,
            label=row.label,
            arms=arms(variants, widths if row.tuned_at_widths else [own.width]),
            seeds=own.confirmation_seeds if row.confirmation else own.seeds,
            tuning=own.tuning,
            factors={},
            vocabulary=vocabulary,
            model=_MODEL.get(name, {}),
            training=_training(settings).get(name, {}),
        )
        for part in parts_in("optimizer_ablation", condition, settings):
            alone = row.tuned_at_widths or not part.width
            more = {
                # The control without MLPs is reported, too.
                "seeds": condition.seeds,
                "reports": [("report", width) for width in ([part.width] if alone else widths)],
                "rate_grows": row.standard,
            }
            planned.append(part.model_copy(update=more))
    return planned


def _training(settings: Settings) -> dict[str, dict[str, Any]]:
    """What contexts change in the settings of training."""
    own, training = settings.optimizer_ablation, settings.training
    chunk = training.log_every
    return {
        "short": {
            "steps": max(chunk, training.steps // 3 // chunk * chunk),
            "warmup_steps": training.warmup_steps // 3,
        },
        "small_batch": {"batch_size": max(1, training.batch_size // 4)},
        "sgd_trunk": {"trunk_optimizer": "sgd", "trunk_learning_rate": own.sgd_trunk_learning_rate},
        "weight_decay": {"readout_decay": own.readout_decay},
        "fixed_trunk": {"trunk_learning_rate": 0.0},
    }
