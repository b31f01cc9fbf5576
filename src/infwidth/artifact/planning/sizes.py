# SPDX-License-Identifier: Apache-2.0
"""Counts of parameters, of optimizer state and of what a run leaves on disk, from settings alone.

The programs that train count their own arrays; tests hold these formulas to those.

Shapes: D residual stream, L layers, T context, V vocabulary, H width, E outputs of an MLP,
d = D + 1.
"""

import math
from typing import NamedTuple

from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import Readout, Variant

FLOAT = 4
"""Bytes of a parameter, of a moment and of an activation: all are float32."""
CHECKPOINTS_KEPT = 2
"""How many checkpoints `infwidth.training.checkpoints` keeps of a run."""
_CHECKPOINT_BYTES = 25_000
"""Of a checkpoint's description of itself."""
_ROW_BYTES, _ROW_BYTES_A_LAYER = 400, 110
"""Of a row of metrics.jsonl, which names every group that trains and every activation."""
_RESULT_BYTES = 4_000
"""Of settings.json and result.json; many small documents in the splits that are scored add more."""


class Parameters(NamedTuple):
    """Numbers of parameters by group."""

    trunk: int
    features: int
    readout: int

    @property
    def total(self) -> int:
        """All of them, trained or not."""
        return sum(self)


def mlps_and_outputs(model: ModelSettings, vocabulary_size: int) -> tuple[int, int]:
    """How many MLPs there are, and E."""
    to_logits = model.readout_target == "vocabulary"
    return (1, vocabulary_size) if to_logits else (model.layers, model.d_model)


def parameters(
    model: ModelSettings, variant: Variant, width: int, vocabulary_size: int
) -> Parameters:
    """Counts a model's parameters.

    Args:
      model: its shape.
      variant: how the MLPs train.
      width: H; of no effect where there are no MLPs.
      vocabulary_size: V.
    """
    D, L = model.d_model, model.layers
    trunk = (vocabulary_size + model.context) * D + L * (4 * D * D + D) + D
    if variant.features == "none":
        return Parameters(trunk, 0, 0)
    mlps, outputs = mlps_and_outputs(model, vocabulary_size)
    if model.readout_target == "residual":
        trunk += L * D
    return Parameters(trunk, mlps * width * (D + 1), mlps * width * outputs)


def trained(counts: Parameters, variant: Variant) -> int:
    """How many of a model's parameters train."""
    return counts.total - (0 if variant.features == "adam" else counts.features)


def optimizer_numbers(
    model: ModelSettings,
    training: TrainingSettings,
    variant: Variant,
    width: int,
    vocabulary_size: int,
) -> int:
    """Counts the numbers of the optimizer's state, each of `FLOAT` bytes.

    Args:
      model: shape of the model.
      training: says which rule trains the trunk.
      variant: says which rules train features and readout.
      width: H.
      vocabulary_size: V.
    """
    counts = parameters(model, variant, width, vocabulary_size)
    numbers = 2 * counts.trunk + 1 if training.trunk_optimizer == "adam" else 0
    if variant.features == "adam":
        numbers += 2 * counts.features + 1
    mlps, outputs = mlps_and_outputs(model, vocabulary_size)
    per_mlp, steps_taken = _readout_state(variant.readout, width, outputs)
    if variant.features == "measured":
        per_mlp, steps_taken = per_mlp + width, steps_taken + 1
    return numbers + mlps * per_mlp + steps_taken


def _readout_state(rule: Readout, H: int, E: int) -> tuple[int, int]:
    """Numbers that a rule keeps for each MLP, and 1 if it counts its steps."""
    m = H * E
    if rule in ("adam", "nadam"):
        return 2 * m, 1
    if rule in ("adam_star", "adam_star_error", "adam_star_uncorrected", "nadam_star"):
        return m + E, 1
    return {
        "none": (0, 0),
        "sgd": (0, 0),
        "momentum": (m, 0),
        "rms_star": (E, 1),
        "adam_star_global": (m + 1, 1),
        "adam_star_factored": (m + H + E, 1),
        "adagrad_star": (E, 0),
        "muon_star": (m, 0),
    }[rule]


def state_bytes(
    model: ModelSettings,
    training: TrainingSettings,
    variant: Variant,
    width: int | None,
    vocabulary_size: int,
) -> int:
    """Bytes of all that a run changes or holds fixed, which is what a checkpoint keeps.

    Where the width is infinite (None) it is the trunk's state and the inputs seen.
    """
    if width is None:
        trunk = Variant("none", "none", "", "")
        numbers = parameters(model, trunk, 0, vocabulary_size).total
        numbers += optimizer_numbers(model, training, trunk, 0, vocabulary_size)
        return FLOAT * numbers + support_bytes(model, training)
    numbers = parameters(model, variant, width, vocabulary_size).total
    numbers += optimizer_numbers(model, training, variant, width, vocabulary_size)
    return FLOAT * numbers


_FIRST_INPUTS = 16_384
"""Inputs for which the buffers of an infinitely wide layer have room at the start."""


def support_bytes(model: ModelSettings, training: TrainingSettings) -> int:
    """Bytes of the inputs seen and of what was learnt from each, in buffers that double when full.

    As in `infwidth.infinite.support`, but for inputs that fill up the last block of a step.
    """
    tokens = training.batch_size * model.context
    first = max(1, _FIRST_INPUTS // tokens)
    room = first * 2 ** max(0, math.ceil(math.log2(training.steps / first)))
    D = model.d_model
    return FLOAT * model.layers * room * (tokens * (2 * D + 1) + D)


def checkpoint_bytes(state: int, training: TrainingSettings) -> int:
    """Bytes of the checkpoints that a run which is done leaves on disk.

    Args:
      state: of one, as `state_bytes` counts it.
      training: says how many there are.
    """
    kept = min(CHECKPOINTS_KEPT, -(-training.steps // training.checkpoint_every))
    return kept * (state + _CHECKPOINT_BYTES)


def record_bytes(model: ModelSettings, training: TrainingSettings) -> int:
    """Bytes of a run's settings, rows of metrics and result, about."""
    row = _ROW_BYTES + _ROW_BYTES_A_LAYER * model.layers
    return training.steps // training.log_every * row + _RESULT_BYTES
