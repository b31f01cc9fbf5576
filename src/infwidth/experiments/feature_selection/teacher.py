# SPDX-License-Identifier: Apache-2.0
"""A teacher of a few ReLU units whose directions are planted, and ReLU features in NumPy.

Shapes: A inputs of dimension D, d = D + 1; K units of the teacher; H features.
"""

import math
from typing import NamedTuple

import numpy as np

from infwidth.models.features import feature_bias


class Teacher(NamedTuple):
    """y(x) = Σ_k s_k relu(v_k·x̃), x̃ = (x, b)."""

    v_Kxd: np.ndarray
    """Unit vectors, independent and uniform."""
    sign_K: np.ndarray
    """+1 and −1 by turns."""

    def __call__(self, x_AxD: np.ndarray) -> np.ndarray:
        """y_A."""
        return np.maximum(extended(x_AxD) @ self.v_Kxd.T, 0) @ self.sign_K


def draw_teacher(rng: np.random.Generator, units: int, dimension: int) -> Teacher:
    """Draws a teacher of K units for inputs of dimension D."""
    v_Kxd = rng.normal(size=(units, dimension + 1))
    v_Kxd /= np.linalg.norm(v_Kxd, axis=1, keepdims=True)
    return Teacher(v_Kxd, np.where(np.arange(units) % 2 == 0, 1.0, -1.0))


def extended(x_AxD: np.ndarray) -> np.ndarray:
    """x̃ = (x, b), with the b that the feature layer has by default."""
    D = x_AxD.shape[1]
    return np.pad(x_AxD, ((0, 0), (0, 1)), constant_values=feature_bias(D, None))


def relu_features(x_AxD: np.ndarray, omega_Hxd: np.ndarray) -> np.ndarray:
    """g_AxH = relu(ω·x̃/√d)."""
    d = omega_Hxd.shape[1]
    return np.maximum(extended(x_AxD) @ omega_Hxd.T / math.sqrt(d), 0)
