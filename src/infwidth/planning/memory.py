# SPDX-License-Identifier: Apache-2.0
"""The memory that a training step takes on its device, estimated: an upper part is activations.

The count of activations was fitted to what XLA's CPU backend reports for compiled steps
(`memory_analysis`), and is within a tenth of that; a test holds it there. Other backends fuse
differently, and fused attention keeps no weights.

Shapes: B sequences of T tokens, D residual stream, L layers, K heads, V vocabulary, H width.
"""

from typing import NamedTuple

from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import Variant
from infwidth.planning.sizes import (
    FLOAT,
    mlps_and_outputs,
    optimizer_numbers,
    parameters,
    trained,
)

LOSS_BLOCK = 4_096
"""Tokens whose logits exist at a time where the loss is computed in blocks."""
_STREAM_A_LAYER, _STREAM = 12, 5
"""Vectors of D floats a token that are kept: in each layer, and besides them."""
_HIDDEN = 2
"""Vectors of H floats a token that an MLP keeps: ω·x, and its ReLU."""
_LOGITS = 2
"""Matrices as large as the logits: they and their gradient."""


class StepMemory(NamedTuple):
    """Bytes that a training step holds at its peak.

    Attributes:
      state: parameters and optimizer state.
      gradients: of what trains.
      activations: kept for the backward pass, logits apart.
      logits: of all tokens at once.
      blocked_logits: of one block of `LOSS_BLOCK` tokens.
    """

    state: int
    gradients: int
    activations: int
    logits: int
    blocked_logits: int

    @property
    def total(self) -> int:
        """With all logits at once."""
        return self.state + self.gradients + self.activations + self.logits

    @property
    def blocked_total(self) -> int:
        """With the loss in blocks."""
        return self.total - self.logits + self.blocked_logits


def step_memory(
    model: ModelSettings,
    training: TrainingSettings,
    variant: Variant,
    width: int,
    vocabulary_size: int,
    sequences: int,
) -> StepMemory:
    """Estimates the memory of a step of one model of finite width.

    Args:
      model: its shape.
      training: says which rule trains the trunk.
      variant: how the MLPs train.
      width: H.
      vocabulary_size: V.
      sequences: that go through the model at once.
    """
    counts = parameters(model, variant, width, vocabulary_size)
    numbers = optimizer_numbers(model, training, variant, width, vocabulary_size)
    tokens = sequences * model.context
    D, L = model.d_model, model.layers
    hidden = 0
    if variant.features != "none":
        mlps, _ = mlps_and_outputs(model, vocabulary_size)
        hidden = _HIDDEN * mlps * width
    attention = L * model.heads * model.context
    per_token = (_STREAM_A_LAYER * L + _STREAM) * D + attention + hidden
    return StepMemory(
        FLOAT * (counts.total + numbers),
        FLOAT * trained(counts, variant),
        FLOAT * tokens * per_token,
        FLOAT * tokens * _LOGITS * vocabulary_size,
        FLOAT * min(tokens, LOSS_BLOCK) * _LOGITS * vocabulary_size,
    )


def sequences_that_fit(
    memory: int,
    model: ModelSettings,
    training: TrainingSettings,
    variant: Variant,
    width: int,
    vocabulary_size: int,
) -> int:
    """The most sequences that go through a model at once on a device, its loss in blocks.

    Args:
      memory: of the device, bytes.
      model: shape of the model.
      training: says which rule trains the trunk, and the batch, beyond which none are looked for.
      variant: how the MLPs train.
      width: H.
      vocabulary_size: V.

    Returns:
      Their number; 0 where not even one does.
    """
    fitting = 0
    for sequences in range(1, training.batch_size + 1):
        step = step_memory(model, training, variant, width, vocabulary_size, sequences)
        if step.blocked_total > memory:
            break
        fitting = sequences
    return fitting
