# SPDX-License-Identifier: Apache-2.0
"""How well features reach fresh ones: fits on one half of the inputs, scores on the other.

Shapes: H features, N inputs, d their dimension; A inputs to fit on, B to test on; R ridges; M
candidate directions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Array = NDArray[np.float64]
Activation = Callable[[Array], Any]

MOST_INPUTS = 512
"""Inputs that are used; of more, that many are chosen at random."""

FRESH = 64
"""Fresh directions that are tried, besides those that the features' second moment names."""

RIDGES = (1e-6, 1e-3, 1.0)
"""Of fits, in units of the mean of the features' mean squares; for each function the best counts.

A function that is out of reach is fitted best with the largest: with little of a ridge the fit
follows what it cannot know."""

ROUNDS, MOVES = 24, 48
"""Of the local search from the worst candidate on, which names the direction."""


def _relu(z: Array) -> Array:
    return np.maximum(z, 0)


class Bench(NamedTuple):
    """What all samples of features are measured with.

    Attributes:
      x_Axd, x_Bxd: both halves of the inputs.
      activation: elementwise.
      scale: root mean square of ω's entries.
      fresh_Mxd: fresh directions.
      unit: mean square of an average fresh feature.
      seed: of everything random.
    """

    x_Axd: Array
    x_Bxd: Array
    activation: Activation
    scale: float
    fresh_Mxd: Array
    unit: float
    seed: int

    @classmethod
    def of(
        cls, x_Nxd: Array, omega_Hxd: Array, activation: Activation | None, seed: int
    ) -> "Bench":
        """A bench for features of this size, ReLU where no activation is given.

        Raises:
          ValueError: fresh features are 0 at all inputs.
        """
        rng = np.random.default_rng([seed, 0])
        x_Nxd = x_Nxd[rng.permutation(len(x_Nxd))[:MOST_INPUTS]]
        half = len(x_Nxd) // 2
        scale = float(np.sqrt(np.square(omega_Hxd).mean()))
        fresh_Mxd = rng.normal(size=(FRESH, x_Nxd.shape[1]))
        bench = cls(x_Nxd[:half], x_Nxd[half:], activation or _relu, scale, fresh_Mxd, 1.0, seed)
        unit = float(np.square(bench._values(x_Nxd, bench._sized(fresh_Mxd))).mean())
        if not unit > 0:
            raise ValueError("features that are drawn anew are 0 at all inputs")
        return bench._replace(unit=unit)

    def score(self, omega_Hxd: Array) -> tuple[float, Array, Array]:
        """The worst score of a candidate, that candidate, and the features' fits."""
        fit_RxBxA = self._fits(omega_Hxd)
        _, vectors_dxd = np.linalg.eigh(omega_Hxd.T @ omega_Hxd)
        named_Mxd = np.concatenate([vectors_dxd.T, omega_Hxd.mean(axis=0, keepdims=True)])
        nu_Mxd = self._sized(np.concatenate([self.fresh_Mxd, named_Mxd, -named_Mxd]))
        left_M, _ = self._left(fit_RxBxA, nu_Mxd)
        worst = int(left_M.argmax())
        return float(left_M[worst]) / self.unit, nu_Mxd[worst], fit_RxBxA

    def search(self, fit_RxBxA: Array, nu_d: Array) -> tuple[float, Array]:
        """Moves a direction to where more is out of reach; returns the feature's share, too."""
        rng = np.random.default_rng([self.seed, 2])
        share = 0.0
        for radius in np.geomspace(0.7, 0.01, ROUNDS):
            move_Mxd = rng.normal(size=(MOVES, nu_d.size)) * np.linalg.norm(nu_d)
            near_Mxd = nu_d + radius / np.sqrt(nu_d.size) * move_Mxd
            share, nu_d = self.worst(fit_RxBxA, np.append(near_Mxd, nu_d[None, :], axis=0))
        return share, nu_d

    def worst(self, fit_RxBxA: Array, nu_Mxd: Array) -> tuple[float, Array]:
        """The direction of which most is out of reach, and its feature's share that is."""
        nu_Mxd = self._sized(nu_Mxd)
        left_M, square_M = self._left(fit_RxBxA, nu_Mxd)
        worst = int(left_M.argmax())
        return float(left_M[worst] / max(square_M[worst], 1e-300)), nu_Mxd[worst]

    def _sized(self, nu_Mxd: Array) -> Array:
        """Directions as features of the size that a fresh one has."""
        norm_Mx1 = np.linalg.norm(nu_Mxd, axis=1, keepdims=True)
        size = self.scale * np.sqrt(nu_Mxd.shape[1])
        return nu_Mxd * (size / np.where(norm_Mx1 > 0, norm_Mx1, 1))

    def _values(self, x_Nxd: Array, omega_Hxd: Array) -> Array:
        z_NxH = x_Nxd @ omega_Hxd.T / np.sqrt(x_Nxd.shape[1])
        return np.asarray(self.activation(z_NxH), np.float64)

    def _fits(self, omega_Hxd: Array) -> Array:
        """For each ridge, from a function's values on A to its fit on B, shape (R, B, A)."""
        g_AxH, g_BxH = self._values(self.x_Axd, omega_Hxd), self._values(self.x_Bxd, omega_Hxd)
        k_AxA, k_AxB = g_AxH @ g_AxH.T, g_AxH @ g_BxH.T
        mean = np.trace(k_AxA) / len(k_AxA) or 1.0
        eye_AxA = np.eye(len(k_AxA))
        return np.stack(
            [cho_solve(cho_factor(k_AxA + r * mean * eye_AxA), k_AxB).T for r in RIDGES]
        )

    def _left(self, fit_RxBxA: Array, nu_Mxd: Array) -> tuple[Array, Array]:
        """Mean squares on B: of what the best fit leaves, and of the feature.

        A fit counts times the best factor, so that it never leaves more than there is.
        """
        g_AxM, g_BxM = self._values(self.x_Axd, nu_Mxd), self._values(self.x_Bxd, nu_Mxd)
        fitted_RxBxM = fit_RxBxA @ g_AxM
        square_M = np.square(g_BxM).mean(axis=0)
        of_fit_RxM = np.square(fitted_RxBxM).mean(axis=1)
        product_RxM = (fitted_RxBxM * g_BxM).mean(axis=1)
        reached_RxM = np.square(product_RxM) / np.where(of_fit_RxM > 0, of_fit_RxM, 1)
        return np.maximum(square_M - reached_RxM.max(axis=0), 0), square_M
