# SPDX-License-Identifier: Apache-2.0
"""The plan of the infinite-width experiment: the settings of its runs (without JAX)."""

from infwidth.config.mesh import MeshSettings
from infwidth.config.settings import TrainingSettings
from infwidth.experiments.infinite_lm.settings import InfiniteLmSettings

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
