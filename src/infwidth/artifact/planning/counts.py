# SPDX-License-Identifier: Apache-2.0
"""Parameters, state, files, FLOPs and memory of a run, counted from its settings alone.

The programs that train count their own arrays; tests hold these formulas to those.

Shapes: B sequences of T tokens, D residual stream, L layers, V vocabulary, H width, E outputs of an
MLP, d = D + 1.
"""

import math
from typing import Literal, NamedTuple

from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import NO_MLPS, Readout, Variant
from infwidth.models.flops import infinite_training_flops, training_flops
from infwidth.training.microbatches import TOKENS_ON_CPU, microbatch_count
from infwidth.training.spec import RunSpec

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
_FIRST_INPUTS = 16_384
"""Inputs for which the buffers of an infinitely wide layer have room at the start."""


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


class Parameters(NamedTuple):
    """Numbers of parameters by group."""

    trunk: int
    features: int
    readout: int

    @property
    def total(self) -> int:
        """All of them, trained or not."""
        return sum(self)


class StepMemory(NamedTuple):
    """Bytes that a training step holds on a device at its peak."""

    state: int  # the device's share of parameters and optimizer state
    gradients: int  # of what trains; where storage is shared, the parameters brought together, too
    activations: int  # kept for the backward pass, logits apart
    logits: int  # of as many tokens as have them at a time

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self)


class Model(NamedTuple):
    """A model of finite width and how it trains; the width counts where there are MLPs."""

    shape: ModelSettings
    training: TrainingSettings
    variant: Variant
    width: int
    vocabulary_size: int

    @property
    def parameters(self) -> Parameters:
        """How many there are."""
        D, L = self.shape.d_model, self.shape.layers
        trunk = (self.vocabulary_size + self.shape.context) * D + L * (4 * D * D + D) + D
        if self.variant.features == "none":
            return Parameters(trunk, 0, 0)
        mlps, outputs = self._mlps_and_outputs
        if self.shape.readout_target == "residual":
            trunk += L * D
        return Parameters(trunk, mlps * self.width * (D + 1), mlps * self.width * outputs)

    @property
    def trained(self) -> int:
        """How many of the parameters train."""
        counts = self.parameters
        return counts.total - (0 if self.variant.features == "adam" else counts.features)

    @property
    def optimizer_numbers(self) -> int:
        """Numbers of the optimizer's state, each of `FLOAT` bytes."""
        counts, features = self.parameters, self.variant.features
        numbers = 2 * counts.trunk + 1 if self.training.trunk_optimizer == "adam" else 0
        if features == "adam":
            numbers += 2 * counts.features + 1
        mlps, outputs = self._mlps_and_outputs
        per_mlp, steps_taken = _readout_state(self.variant.readout, self.width, outputs)
        if features == "measured":
            per_mlp, steps_taken = per_mlp + self.width, steps_taken + 1
        return numbers + mlps * per_mlp + steps_taken

    @property
    def state_bytes(self) -> int:
        """Bytes of all that a run changes or holds fixed, which is what a checkpoint keeps."""
        return FLOAT * (self.parameters.total + self.optimizer_numbers)

    @property
    def _mlps_and_outputs(self) -> tuple[int, int]:
        """How many MLPs there are, and E."""
        if self.shape.readout_target == "vocabulary":
            return 1, self.vocabulary_size
        return self.shape.layers, self.shape.d_model

    def step_memory(self, platform: str, sequences: int | None = None) -> StepMemory:
        """Estimates the memory of a step with so many sequences at once, else as configured.

        What is kept for the backward pass is counted as JAX's derivative keeps it, and so is right
        before compilation; XLA's CPU backend, in float32, is within a tenth of it. Other backends
        fuse differently.
        """
        if sequences is None:
            sequences = sequences_at_once(self.shape, self.training, platform)
        mesh, counts = self.training.mesh, self.parameters
        mlp_share = 1 - counts.trunk / counts.total
        # Along H all that is wide is split, and the optimizer's state in the same proportion.
        on_a_row = (1 - mlp_share) + mlp_share / mesh.width
        tokens = sequences * self.shape.context
        gradients = self.trained + (counts.total if mesh.fsdp > 1 else 0)
        block = loss_block(self.shape, tokens, self.vocabulary_size, platform)
        return StepMemory(
            round(FLOAT * (counts.total + self.optimizer_numbers) * on_a_row / mesh.fsdp),
            round(FLOAT * gradients * on_a_row),
            tokens * self._kept_a_token(self.width // mesh.width, platform),
            FLOAT * block * _LOGITS * self.vocabulary_size,
        )

    def _kept_a_token(self, width: int, platform: str) -> int:
        D, L = self.shape.d_model, self.shape.layers
        kept = _KEPT[self.shape.numerics.compute_dtype]
        mlps, _ = self._mlps_and_outputs
        hidden = 0 if self.variant.features == "none" else kept.hidden * mlps * width
        attention = kept.weights[attention_of(self.shape, platform)]
        weights = attention * self.shape.heads * self.shape.context
        if self.shape.numerics.rematerialize:
            # The input of every block, and all that one of them keeps while it is computed again.
            return FLOAT * (L + _STREAM) * D + kept.stream * D + weights + hidden // mlps
        return (kept.stream * L + FLOAT * _STREAM) * D + L * weights + hidden

    def sequences_that_fit(self, memory: int, platform: str) -> int:
        """The most sequences at once whose step fits in so many bytes; at most a device's batch."""
        most = max(1, self.training.batch_size // self.training.mesh.batch_parts)
        fitting = 0
        for sequences in range(1, most + 1):
            if self.step_memory(platform, sequences).total > memory:
                break
            fitting = sequences
        return fitting


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


def support_bytes(model: ModelSettings, training: TrainingSettings) -> int:
    """Bytes of the inputs seen and of what was learnt from each, in buffers that double when full.

    As in `infwidth.infinite.support`, but for inputs that fill up the last block of a step.
    """
    tokens = training.batch_size * model.context
    first = max(1, _FIRST_INPUTS // tokens)
    room = first * 2 ** max(0, math.ceil(math.log2(training.steps / first)))
    D = model.d_model
    return FLOAT * model.layers * room * (tokens * (2 * D + 1) + D)


def model_of(spec: RunSpec) -> Model:
    """What a run trains; where the width is infinite, only the trunk."""
    if spec.width is None:
        return Model(spec.model, spec.training, NO_MLPS, 0, spec.vocabulary_size)
    variant = Variant(spec.features, spec.readout, "", "")
    return Model(spec.model, spec.training, variant, spec.width, spec.vocabulary_size)


def checkpoint_bytes(spec: RunSpec) -> int:
    """Bytes on disk of the checkpoints that a run leaves when it is done."""
    training, state = spec.training, model_of(spec).state_bytes
    if spec.width is None:
        state += support_bytes(spec.model, training)
    kept = min(CHECKPOINTS_KEPT, -(-training.steps // training.checkpoint_every))
    return kept * (state + _CHECKPOINT_BYTES)


def record_bytes(model: ModelSettings, training: TrainingSettings) -> int:
    """Bytes of a run's settings, rows of metrics and result, about."""
    row = _ROW_BYTES + _ROW_BYTES_A_LAYER * model.layers
    return training.steps // training.log_every * row + _RESULT_BYTES


def run_flops(spec: RunSpec, split_tokens: dict[str, int] | None = None) -> tuple[int, int]:
    """Counts a run's FLOPs: of its training steps, and of the scoring of its held-out splits.

    Of what else a run does (a forward pass a logged chunk, SGD's unit) nothing is counted: it is
    well under a hundredth. Of a split no more can be scored than its tokens, where those are known.
    """
    asked = spec.training.evaluation_tokens
    scored = sum(min(asked, (split_tokens or {}).get(split, asked)) for split in spec.splits)
    variant = Variant(spec.features, spec.readout, "", "")
    if spec.width is None:
        return _infinite_flops(spec, scored)
    step = training_flops(
        spec.model, variant, spec.width, spec.vocabulary_size, spec.training.batch_size
    )
    if spec.model.numerics.rematerialize:
        step += recomputed_flops(spec.model, variant, spec.width, spec.training.batch_size)
    # With features that train, every product has two gradients.
    all_train = variant if variant.features == "none" else variant._replace(features="adam")
    sequence = training_flops(spec.model, all_train, spec.width, spec.vocabulary_size, 1) // 3
    return spec.training.steps * step, scored * sequence // spec.model.context


def recomputed_flops(model: ModelSettings, variant: Variant, width: int, batch_size: int) -> int:
    """FLOPs of a step that are spent a second time where blocks are rematerialized.

    All products of a block's forward pass but the last, whose result no gradient needs.
    """
    D, T, N = model.d_model, model.context, batch_size * model.context
    attention = 2 * N * D * 3 * D + 2 * 2 * batch_size * (T * (T + 1) // 2) * D
    if variant.features == "none" or model.readout_target == "vocabulary":
        return model.layers * attention
    return model.layers * (attention + 2 * N * D * D + 2 * N * width * (D + 1))


def _infinite_flops(spec: RunSpec, scored: int) -> tuple[int, int]:
    D, L = spec.model.d_model, spec.model.layers
    inputs = spec.training.steps * spec.training.batch_size * spec.model.context
    sequence = training_flops(spec.model, NO_MLPS, 0, spec.vocabulary_size, 1) // 3
    per_token = sequence // spec.model.context + L * inputs * 2 * (2 * D + 1)
    step = infinite_training_flops(spec.model, spec.training, spec.vocabulary_size)
    return spec.training.steps * step, scored * per_token


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
