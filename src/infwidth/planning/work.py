# SPDX-License-Identifier: Apache-2.0
"""The FLOPs of a whole run: its training steps, and the scoring of its held-out splits.

Of what else a run does (a forward pass a logged chunk, SGD's unit) nothing is counted: it is well
under a hundredth.
"""

from infwidth.config.settings import ModelSettings
from infwidth.config.variants import NO_MLPS, Variant
from infwidth.models.flops import infinite_training_flops, training_flops
from infwidth.training.spec import RunSpec


def run_flops(spec: RunSpec, split_tokens: dict[str, int] | None = None) -> tuple[int, int]:
    """Counts a run's FLOPs.

    Args:
      spec: the run.
      split_tokens: tokens of each split, by name, of which no more than these can be scored; None
        where they are not known.

    Returns:
      FLOPs of training, and of scoring.
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

    Args:
      model: shape of the model.
      variant: how the MLPs train.
      width: H.
      batch_size: B.

    Returns:
      FLOPs a step.
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
