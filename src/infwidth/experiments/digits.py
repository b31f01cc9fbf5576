# SPDX-License-Identifier: Apache-2.0
"""What experiments on scikit-learn's digits share: images scaled, features as drawn, losses, rates.

Shapes: A images of dimension D, d = D + 1; K a batch; E classes, which are the outputs; H features.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from infwidth.config.settings import TrainingSettings
from infwidth.models.features import feature_bias
from infwidth.models.loss import cross_entropy


def scaled(x_AxD: np.ndarray, train: slice) -> np.ndarray:
    """Centres every coordinate and divides all by one number.

    So they are 0 in the mean and have a mean square of 1 over the images trained on, as the inputs
    of an MLP have behind a transformer's normalization.
    """
    x_AxD = x_AxD - x_AxD[train].mean(axis=0)
    return x_AxD / np.sqrt(np.square(x_AxD[train]).mean())


def mean_loss(f_KxE: jax.Array, label_K: jax.Array) -> jax.Array:
    """The softmax's cross-entropy, nats per image."""
    return jnp.mean(cross_entropy(f_KxE.T, label_K))


def relu_features(x_AxD: jax.Array, omega_Hxd: jax.Array) -> jax.Array:
    """g_AxH = relu(ω·(x, b)/√d), with the b that the feature layer has by default."""
    scaled_Hxd = omega_Hxd / math.sqrt(omega_Hxd.shape[1])
    constant_H = scaled_Hxd[:, -1] * feature_bias(x_AxD.shape[1], None)
    return jax.nn.relu(jnp.dot(x_AxD, scaled_Hxd[:, :-1].T) + constant_H[None, :])


def as_training(settings: Any) -> TrainingSettings:
    """What the language model's rules and schedule read, from a section of settings like theirs."""
    names = ("steps", "warmup_steps", "final_fraction", "b1", "b2", "eps")
    return TrainingSettings(
        **{name: getattr(settings, name) for name in names},
        log_every=settings.steps,
        checkpoint_every=settings.steps,
    )
