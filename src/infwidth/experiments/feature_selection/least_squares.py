# SPDX-License-Identifier: Apache-2.0
"""The best that any readout of H frozen features can do, exactly, under inputs x ~ N(0, I).

The products of two ReLU features have a closed form under normal inputs (docs/theory.md, equation
(18)), so that the least-squares readout and its error come without sampling inputs: this is the
error that is left with infinitely many examples. All is NumPy in float64.

Shapes: H frozen features, N units of the network that is made again, d = D + 1.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import linalg
from scipy.special import ndtr, owens_t

from infwidth.models.features import feature_bias

RIDGE = 1e-12
"""Of the mean square of the features: far below every error that is reported."""


class Fit(NamedTuple):
    """The best readout at one width.

    Attributes:
      width: H.
      error: root mean square distance from the network, relative to its outputs.
      price: (1/H) Σ M_h².
    """

    width: int
    error: float
    price: float


def best_readouts(
    frozen_Hxd: np.ndarray, omega_Nxd: np.ndarray, m_N: np.ndarray, widths: Sequence[int]
) -> list[Fit]:
    """Makes (1/N) Σ_n M_n relu(ω_n·x̃/√d) again from the first H frozen features.

    Args:
      frozen_Hxd: as many as the largest width, at least.
      omega_Nxd: features of the network.
      m_N: its readout.
      widths: H.

    Returns:
      A fit for each width.
    """
    weight_N = m_N / m_N.size
    square = weight_N @ products(omega_Nxd, omega_Nxd) @ weight_N
    frozen_Hxd = frozen_Hxd[: max(widths)]
    gram_HxH = products(frozen_Hxd, frozen_Hxd)
    cross_H = products(frozen_Hxd, omega_Nxd) @ weight_N
    fits = []
    for width in widths:
        theta_HxH, target_H = gram_HxH[:width, :width], cross_H[:width]
        ridge = RIDGE * float(np.trace(theta_HxH)) / width
        factor = linalg.cho_factor(theta_HxH + ridge * np.eye(width))
        share_H = linalg.cho_solve(factor, target_H)
        left = square - 2 * share_H @ target_H + share_H @ theta_HxH @ share_H
        price = float(np.square(width * share_H).mean())
        fits.append(Fit(width, math.sqrt(max(left, 0.0) / square), price))
    return fits


def products(a_Hxd: np.ndarray, b_Nxd: np.ndarray) -> np.ndarray:
    """E_x[relu(a·x̃/√d) relu(b·x̃/√d)] under x ~ N(0, I_D), of every pair.

    Args:
      a_Hxd: features; each has a part besides the bias coordinate.
      b_Nxd: the same.

    Returns:
      product_HxN.

    References:
      docs/theory.md, equation (18); the bivariate normal distribution function by D. B. Owen, Ann.
      Math. Stat. 27 (1956).
    """
    d = a_Hxd.shape[1]
    bias = feature_bias(d - 1, None)
    sigma_Hx1 = np.linalg.norm(a_Hxd[:, :-1], axis=1)[:, None]
    sigma_1xN = np.linalg.norm(b_Nxd[:, :-1], axis=1)[None, :]
    h_Hx1 = bias * a_Hxd[:, -1:] / sigma_Hx1
    k_1xN = bias * b_Nxd[:, -1:].T / sigma_1xN
    rho_HxN = np.clip((a_Hxd[:, :-1] / sigma_Hx1) @ (b_Nxd[:, :-1] / sigma_1xN.T).T, -1, 1)
    tau_HxN = np.sqrt((1 - rho_HxN) * (1 + rho_HxN))
    # A τ of this size is all rounding. Then p and q are infinite or, of equal features, 0.
    apart_HxN = tau_HxN > 1e-7
    rho_HxN = np.where(apart_HxN, rho_HxN, np.sign(rho_HxN))
    root_HxN = np.where(apart_HxN, tau_HxN, 1e-6)
    p_HxN = (k_1xN - rho_HxN * h_Hx1) / root_HxN
    q_HxN = (h_Hx1 - rho_HxN * k_1xN) / root_HxN
    both_HxN = (
        (ndtr(h_Hx1) + ndtr(k_1xN) - (h_Hx1 * k_1xN < 0)) / 2
        - owens_t(h_Hx1, p_HxN / h_Hx1)
        - owens_t(k_1xN, q_HxN / k_1xN)
    )
    density_Hx1, density_1xN = _density(h_Hx1), _density(k_1xN)
    bracket_HxN = (
        (h_Hx1 * k_1xN + rho_HxN) * both_HxN
        + h_Hx1 * density_1xN * ndtr(q_HxN)
        + k_1xN * density_Hx1 * ndtr(p_HxN)
        + apart_HxN * tau_HxN * density_Hx1 * _density(p_HxN)
    )
    return sigma_Hx1 * sigma_1xN * bracket_HxN / d


def _density(z: np.ndarray) -> np.ndarray:
    return np.exp(-np.square(z) / 2) / math.sqrt(2 * math.pi)
