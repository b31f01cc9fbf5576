# SPDX-License-Identifier: Apache-2.0
"""The infinite-width transformer against finite widths, from the same trunk and batches (no JAX).

Every variant is tuned at one finite width and runs at all finite widths; those that keep a kernel
also run at infinite width, at the same rate: no rate is chosen by an infinite run. SGD's rate is in
units of each model's own first batches, which tend to the infinite model's as the width grows.
"""

from infwidth.config.section import MeshSettings
from infwidth.config.settings import Settings, TrainingSettings
from infwidth.config.variants import VARIANTS
from infwidth.experiments.infinite_lm.settings import InfiniteLmSettings
from infwidth.experiments.study import Part, has_mlps, widths_of

_OWN_TRAINING = (
    *("steps", "batch_size", "warmup_steps", "trunk_learning_rate"),
    *("evaluation_tokens", "log_every", "checkpoint_every"),
)


def training_of(common: TrainingSettings, own: InfiniteLmSettings) -> TrainingSettings:
    """The training settings of this experiment's runs: its own, and else the common ones.

    They are small, and those of infinite width keep all in one place: each takes one device.
    """
    own_values = {name: getattr(own, name) for name in _OWN_TRAINING}
    return common.model_copy(update=own_values | {"mesh": MeshSettings()})


def parts(settings: Settings) -> list[Part]:
    """A part a variant; its runs of role `extra` are extrapolated from, and no more."""
    own = settings.infinite_lm
    training = training_of(settings.training, own)
    extra = sorted(set(own.extrapolated_widths) - set(own.widths))
    infinite = [*(("extra", width) for width in extra), ("report", None)]
    return [
        Part(
            name=name,
            condition="infinite_lm",
            variant=name,
            width=own.reference_width if has_mlps(VARIANTS[name]) else 0,
            vocabulary=settings.data.vocabulary,
            model=settings.model.with_plain_numerics(),
            training=training,
            search=training,
            tuning=own.tuning,
            seeds=own.seeds,
            reports=[
                *(("report", width) for width in widths_of(name, own.widths)),
                *(infinite if name in own.infinite_variants else ()),
            ],
            rates="infinite_lm.tuning.learning_rates",
            trunk_rate="infinite_lm.trunk_learning_rate",
        )
        for name in own.variants
    ]
