# SPDX-License-Identifier: Apache-2.0
"""The memory that a training step takes on each of its devices, estimated from settings alone.

What is kept for the backward pass is counted as JAX's derivative keeps it, and so is right before
compilation; XLA's CPU backend, in float32, is within a tenth of it. Tests hold it to both.
Other backends fuse differently.

Shapes: B sequences of T tokens, D residual stream, L layers, K heads, V vocabulary, H width.
"""

import math
from typing import Literal, NamedTuple

from infwidth.artifact.planning.sizes import (
    FLOAT,
    mlps_and_outputs,
    optimizer_numbers,
    parameters,
    trained,
)
from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import Variant
from infwidth.training.microbatches import TOKENS_ON_CPU, microbatch_count

LOGITS_ON_CPU, LOGITS_ELSEWHERE = 2**24, 2**27
"""As in `infwidth.models.loss`, which imports JAX."""
_LOGITS = 2
"""Matrices as large as the logits: they and their gradient."""
_STREAM = 5
"""Vectors of D float32 a token besides those of the layers."""

Attention = Literal["plain", "xla", "cudnn"]


class _Kept(NamedTuple):
    """Bytes that a layer keeps a token for the backward pass: by vectors of D, of H, of K T."""

    stream: int
    hidden: int
    weights: dict[Attention, int]


_KEPT = {
    "float32": _Kept(12 * 4, 2 * 4 + 1, {"plain": 4, "xla": 3 * 4 + 1}),
    "bfloat16": _Kept(7 * 4 + 5 * 2, 4 + 2 + 1, {"xla": 2 * 4 + 2 + 1, "cudnn": 0}),
}


class StepMemory(NamedTuple):
    """Bytes that a training step holds on a device at its peak.

    Attributes:
      state: the device's share of parameters and optimizer state.
      gradients: of what trains; where storage is shared, the parameters brought together, too.
      activations: kept for the backward pass, logits apart.
      logits: of as many tokens as have them at a time.
    """

    state: int
    gradients: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self)


def sequences_at_once(model: ModelSettings, training: TrainingSettings, platform: str) -> int:
    """Sequences that go through a model at once on each device, as configured."""
    part = max(1, training.batch_size // training.mesh.batch_parts)
    tokens = training.microbatch_tokens
    if tokens is None:
        tokens = TOKENS_ON_CPU if platform == "cpu" else part * model.context
    return part // microbatch_count(part, model.context, tokens)


def loss_block(model: ModelSettings, tokens: int, vocabulary_size: int, platform: str) -> int:
    """How many tokens have logits at a time, of `tokens` that go through a model at once."""
    logits = LOGITS_ON_CPU if platform == "cpu" else LOGITS_ELSEWHERE
    most = model.numerics.loss_block or max(1, logits // vocabulary_size)
    return math.ceil(tokens / math.ceil(tokens / most))


def attention_of(model: ModelSettings, platform: str) -> Attention:
    """The form of attention, `auto` resolved by platform and precision alone."""
    numerics = model.numerics
    if numerics.attention != "auto":
        return numerics.attention
    if numerics.compute_dtype == "bfloat16":
        return "cudnn" if platform == "gpu" else "xla"
    return "plain" if platform == "cpu" else "xla"


def step_memory(
    model: ModelSettings,
    training: TrainingSettings,
    variant: Variant,
    width: int,
    vocabulary_size: int,
    sequences: int,
    platform: str,
) -> StepMemory:
    """Estimates the memory of a step of one model of finite width.

    Args:
      model: its shape, and how it is computed.
      training: says which rule trains the trunk, and which devices share the run.
      variant: how the MLPs train.
      width: H.
      vocabulary_size: V.
      sequences: that go through the model at once on a device.
      platform: "cpu", "gpu" or "tpu".
    """
    mesh = training.mesh
    counts = parameters(model, variant, width, vocabulary_size)
    numbers = optimizer_numbers(model, training, variant, width, vocabulary_size)
    mlp_share = 1 - counts.trunk / counts.total
    # Along H all that is wide is split; the rest of the optimizer's state is in that proportion.
    on_a_row = (1 - mlp_share) + mlp_share / mesh.width
    tokens = sequences * model.context
    gradients = trained(counts, variant) + (counts.total if mesh.fsdp > 1 else 0)
    block = loss_block(model, tokens, vocabulary_size, platform)
    return StepMemory(
        round(FLOAT * (counts.total + numbers) * on_a_row / mesh.fsdp),
        round(FLOAT * gradients * on_a_row),
        tokens * _kept_a_token(model, variant, width // mesh.width, vocabulary_size, platform),
        FLOAT * block * _LOGITS * vocabulary_size,
    )


def _kept_a_token(
    model: ModelSettings, variant: Variant, width: int, vocabulary_size: int, platform: str
) -> int:
    D, L = model.d_model, model.layers
    kept = _KEPT[model.numerics.compute_dtype]
    mlps, _ = mlps_and_outputs(model, vocabulary_size)
    hidden = 0 if variant.features == "none" else kept.hidden * mlps * width
    weights = kept.weights[attention_of(model, platform)] * model.heads * model.context
    if model.numerics.rematerialize:
        # The input of every block, and all that one of them keeps while it is computed again.
        return FLOAT * (L + _STREAM) * D + kept.stream * D + weights + hidden // max(mlps, 1)
    return (kept.stream * L + FLOAT * _STREAM) * D + L * weights + hidden


def sequences_that_fit(
    memory: int,
    model: ModelSettings,
    training: TrainingSettings,
    variant: Variant,
    width: int,
    vocabulary_size: int,
    platform: str,
) -> int:
    """The most sequences that go through a model at once on a device.

    Args:
      memory: of the device, bytes.
      model: shape of the model, and how it is computed.
      training: says which rule trains the trunk, and a device's share of the batch, beyond which
        none are looked for.
      variant: how the MLPs train.
      width: H.
      vocabulary_size: V.
      platform: of the device.

    Returns:
      Their number; 0 where not even one does.
    """
    most = max(1, training.batch_size // training.mesh.batch_parts)
    fitting = 0
    for sequences in range(1, most + 1):
        step = step_memory(model, training, variant, width, vocabulary_size, sequences, platform)
        if step.total > memory:
            break
        fitting = sequences
    return fitting
