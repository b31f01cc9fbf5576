# SPDX-License-Identifier: Apache-2.0
"""The scale s(ω) of normalized features, a function of the bias coordinate ω_b alone.

With u(ω) = E_x[g_ω(x)²] under x ~ N(0, I_D), s = (u/E u)^¼. Here |ω_x|² is replaced by its mean D,
so that z = ω·x̃/√d ~ N(μ, σ²), μ = b ω_b/√d, σ = √(D/d), and

    u = E[relu(z)²] = (μ² + σ²) Φ(μ/σ) + μσ φ(μ/σ).

Over ω_b ~ N(0, 1), E u = (σ² + b²/d)/2. See docs/theory.md, normalized features. NumPy in float64
throughout.
"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erfcx, ndtr


def relu_second_moment(ratio: ArrayLike) -> np.ndarray:
    """E[relu(r + z)²] for z ~ N(0, 1): (r² + 1) Φ(r) + r φ(r), to 9 digits for r ≪ 0, too.

    Args:
      ratio: r = μ/σ, any shape.

    Returns:
      The moments, float64, of the same shape.
    """
    r = np.asarray(ratio, np.float64)
    phi = np.exp(-(r**2) / 2) / math.sqrt(2 * math.pi)
    direct = (r**2 + 1) * ndtr(r) + r * phi
    t = np.maximum(-r, 1.0)
    mills = math.sqrt(math.pi / 2) * erfcx(t / math.sqrt(2))
    return np.where(r > -1, direct, phi * ((t**2 + 1) * mills - t))


def feature_scale(omega_b: ArrayLike, d_model: int, bias: float) -> np.ndarray:
    """The scale s = (u/E u)^¼ that each normalized feature is divided by.

    Args:
      omega_b: the bias coordinates ω_b, any shape.
      d_model: D.
      bias: b.

    Returns:
      s, float64, of the same shape; its fourth power has mean 1 over ω_b ~ N(0, 1).
    """
    per_omega_b = bias / math.sqrt(d_model)
    # relu(z)² + relu(−z)² = z², and ω_b is as often −ω_b: E u is half of E[z²].
    mean = (1 + per_omega_b**2) / 2
    moments = relu_second_moment(per_omega_b * np.asarray(omega_b, np.float64))
    return (moments / mean) ** 0.25
