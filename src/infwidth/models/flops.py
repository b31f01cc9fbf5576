# SPDX-License-Identifier: Apache-2.0
"""Matrix-product FLOPs of a training step: those that the variant needs, no more.

A product of an (m × k) with a (k × n) matrix counts 2mkn, forward; each of its two gradients
counts as much again where it is needed. Attention counts the causal half of its products with the
diagonal, T(T + 1)/2 of T² pairs. Elementwise work, norms, softmax, look-ups and the optimizer
count nothing.

Shapes: B sequences of T tokens, N = B·T, D residual stream, L layers, V vocabulary, H width,
d = D + 1 the dimension of a feature's input.
"""

from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import NO_MLPS, Variant


def training_flops(
    model: ModelSettings, variant: Variant, width: int, vocabulary_size: int, batch_size: int
) -> int:
    """Counts the FLOPs of one training step, forward and backward.

    Products by fixed parameters need no gradient for them: the features' product then counts two
    thirds.
    """
    D, T, L, N = model.d_model, model.context, model.layers, batch_size * model.context
    projections = 3 * 2 * N * D * (3 * D + D)
    scores_and_mixture = 3 * 2 * 2 * batch_size * (T * (T + 1) // 2) * D
    mlps, outputs = (1, vocabulary_size) if model.readout_target == "vocabulary" else (L, D)
    mlp = 0
    if variant.features != "none":
        features_products = 3 if variant.features == "adam" else 2
        mlp = 2 * N * width * ((D + 1) * features_products + outputs * 3)
    head = 3 * 2 * N * D * vocabulary_size
    return L * (projections + scores_and_mixture) + mlps * mlp + head


def infinite_training_flops(
    model: ModelSettings, training: TrainingSettings, vocabulary_size: int
) -> int:
    """Counts the FLOPs of a training step whose MLPs are infinitely wide, the mean over a run.

    Each of a batch's inputs meets all that were seen before in two products of the forward pass and
    three of the backward one, and those of its own batch in δᵀΘδ.
    """
    N, D = training.batch_size * model.context, model.d_model
    seen = N * (training.steps - 1) // 2
    forward, backward = 2 * N * (2 * D + 1), 2 * N * (3 * D + 2)
    mlp = seen * (forward + backward) + N * forward
    trunk = training_flops(model, NO_MLPS, 0, vocabulary_size, training.batch_size)
    return trunk + model.layers * mlp
