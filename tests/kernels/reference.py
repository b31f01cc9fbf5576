# SPDX-License-Identifier: Apache-2.0
"""Plain NumPy in float64, from docs/theory.md: ReLU kernels by angles that keep all their digits.

Shapes: P pairs of vectors of dimension d.
"""

from typing import NamedTuple

import numpy as np


class Pairs(NamedTuple):
    """Vectors and their angles, known to a few roundings each."""

    x_Pxd: np.ndarray
    y_Pxd: np.ndarray


def hard_pairs(dtype: type, d: int = 12) -> Pairs:
    """Pairs at angles 0, 1e-9 … 1e-1, 1, π/2 and at π minus these, of lengths 1e-2 to 1e2."""
    rng = np.random.default_rng(7)
    small = np.concatenate([[0.0], 10.0 ** np.arange(-9, 0), [1.0, np.pi / 2]])
    tilt_P = np.repeat(np.concatenate([small, small]), 4)
    sign_P = np.repeat([1.0, -1.0], 4 * len(small))
    length_Px2 = 10.0 ** rng.uniform(-2, 2, size=(len(tilt_P), 2))
    # At an angle of 0 a pair is x and x (or −x) itself; else rounding makes it 1e-8 in float32.
    length_Px2[:, 1] = np.where(tilt_P == 0, length_Px2[:, 0], length_Px2[:, 1])
    u_Pxd, w_Pxd = rng.normal(size=(2, len(tilt_P), d))
    u_Pxd /= np.linalg.norm(u_Pxd, axis=1, keepdims=True)
    w_Pxd -= np.sum(u_Pxd * w_Pxd, axis=1, keepdims=True) * u_Pxd
    w_Pxd /= np.linalg.norm(w_Pxd, axis=1, keepdims=True)
    turned_Pxd = np.cos(tilt_P)[:, None] * u_Pxd + np.sin(tilt_P)[:, None] * w_Pxd
    x_Pxd = (length_Px2[:, :1] * u_Pxd).astype(dtype)
    y_Pxd = (length_Px2[:, 1:] * turned_Pxd * sign_P[:, None]).astype(dtype)
    return Pairs(x_Pxd, y_Pxd)


def supplement(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """θ and π − θ, each with all its digits, by 2 atan2(|x̂ − ŷ|, |x̂ + ŷ|) (Kahan)."""
    x_Pxd, y_Pxd = (z.astype(np.float64) for z in pairs)
    # |ŷ| x̂ and |x̂| ŷ: no division, so that equal vectors differ by exactly 0.
    u_Pxd = x_Pxd * np.linalg.norm(y_Pxd, axis=1, keepdims=True)
    w_Pxd = y_Pxd * np.linalg.norm(x_Pxd, axis=1, keepdims=True)
    difference_P = np.linalg.norm(u_Pxd - w_Pxd, axis=1)
    sum_P = np.linalg.norm(u_Pxd + w_Pxd, axis=1)
    return 2 * np.arctan2(difference_P, sum_P), 2 * np.arctan2(sum_P, difference_P)


def lune(angle: np.ndarray) -> np.ndarray:
    """sin a − a cos a, by its series a³/3 − a⁵/30 + a⁷/840 − a⁹/45360 where it cancels."""
    square = angle**2
    series = angle**3 * (1 / 3 - square * (1 / 30 - square * (1 / 840 - square / 45360)))
    return np.where(angle < 0.1, series, np.sin(angle) - angle * np.cos(angle))


def relu_values(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Θ of each pair by equation (5), and √(Θ(x, x) Θ(y, y)), against which errors are measured."""
    size_P, d = _sizes(pairs), pairs.x_Pxd.shape[1]
    _, rest_P = supplement(pairs)
    return size_P * lune(rest_P) / (2 * np.pi * d), size_P / (2 * d)


def relu_gradients(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """∂Θ/∂x of each pair by equation (6), and |y| / 2d, which is the gradient's size at y = x."""
    x_Pxd, y_Pxd = (z.astype(np.float64) for z in pairs)
    x_P, y_P = np.linalg.norm(x_Pxd, axis=1), np.linalg.norm(y_Pxd, axis=1)
    theta_P, rest_P = supplement(pairs)
    sine_P = np.sin(np.minimum(theta_P, rest_P))
    along_Pxd = (y_P * sine_P / x_P)[:, None] * x_Pxd
    d = x_Pxd.shape[1]
    return (along_Pxd + rest_P[:, None] * y_Pxd) / (2 * np.pi * d), y_P / (2 * d)


def deep_values(pairs: Pairs, hidden_layers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """K^L, Θ^L and √(K^L(x, x) K^L(y, y)) at weight variance 2 without biases."""
    size_P = 2 * _sizes(pairs) / pairs.x_Pxd.shape[1]
    theta_P, rest_P = supplement(pairs)
    k_P = ntk_P = size_P * np.cos(theta_P)
    for _ in range(hidden_layers):
        ntk_P = ntk_P * rest_P / np.pi
        # 1 − cos of the next angle is (1 − cos θ) − (sin θ − θ cos θ)/π.
        versine_P = 2 * np.sin(theta_P / 2) ** 2 - lune(theta_P) / np.pi
        k_P = size_P * lune(rest_P) / np.pi
        ntk_P = ntk_P + k_P
        theta_P = 2 * np.arcsin(np.sqrt(versine_P / 2))
        rest_P = np.pi - theta_P
    return k_P, ntk_P, size_P


def _sizes(pairs: Pairs) -> np.ndarray:
    x_Pxd, y_Pxd = (z.astype(np.float64) for z in pairs)
    return np.linalg.norm(x_Pxd, axis=1) * np.linalg.norm(y_Pxd, axis=1)
