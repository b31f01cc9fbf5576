# SPDX-License-Identifier: Apache-2.0
"""What a number tends to as the width grows: fits of L(H) = L∞ + Σ_k a_k H^−b_k, by many models.

For one model the limit is a fixed linear combination of the numbers at the widths, so each seed
gives one limit, and Student's t over seeds covers all their noise, however the widths of a seed
depend on each other. Which model is right is not known: what is reported spans all of them.

Legend: S seeds, W widths, K powers of a model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from infwidth.stats.effects import Effect
from infwidth.stats.statistics import Floats, Interval

MOST_SKIPPED = 2
"""Narrowest widths that a model may leave out."""

EXPONENTS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""b of the models of a loss over width."""

FEWEST_WIDTHS, LEAST_SPAN = 6, 64
"""With fewer widths, or the largest less than so many times the smallest, no limit is judged."""


def enough(widths: Sequence[int]) -> bool:
    """Whether a limit may be judged from these widths, ascending."""
    return len(widths) >= FEWEST_WIDTHS and widths[-1] / widths[0] >= LEAST_SPAN


class Model(NamedTuple):
    """Which powers of the width, and of how many narrowest widths nothing is asked."""

    exponents: tuple[float, ...]
    skipped: int

    def describe(self, widths: Sequence[float]) -> str:
        """The model in words, such as "b = 0.5, from H = 32"."""
        powers = " and ".join(f"{b:g}" for b in self.exponents)
        start = f", from H = {widths[self.skipped]:,.0f}" if self.skipped else ""
        return f"b = {powers}{start}"

    def design(self, widths: ArrayLike) -> Floats:
        """1 and the powers at these widths, shape (W, 1 + K); at width inf the powers are 0."""
        H_W = np.asarray(widths, np.float64)
        return np.stack([np.ones_like(H_W), *(H_W**-b for b in self.exponents)], axis=-1)


@dataclass(frozen=True)
class Fit:
    """One model, fitted to every seed by least squares.

    Attributes:
        coefficients_SxK: L∞ first, then the factor of each power.
        p_misfit: of the test that the model is right, against any other mean at its widths; the
            spread of the residuals over seeds is the yardstick. NaN for one seed.
    """

    model: Model
    coefficients_SxK: Floats
    p_misfit: float

    @property
    def limit_S(self) -> Floats:
        """L∞ by seed."""
        return self.coefficients_SxK[:, 0]

    def mean_at(self, widths: ArrayLike) -> Floats:
        """The mean over seeds of the fitted curve, shape (W,)."""
        return self.model.design(widths) @ self.coefficients_SxK.mean(axis=0)

    def effect(self, where: str, lost: int = 0) -> Effect:
        """The limit as an effect over seeds."""
        return Effect.of_repeats(where, self.limit_S, lost)


@dataclass(frozen=True)
class Extrapolation:
    """The limit of paired numbers over ascending widths, by every model that the widths allow.

    `lost` are the seeds that lack a number at some width, and are left out.
    """

    widths: list[int]
    values_SxW: Floats
    lost: int
    fits: list[Fit]

    @property
    def best(self) -> Fit:
        """The fit that the data contradict least; the first where nothing can be told."""
        return max(self.fits, key=lambda fit: -1.0 if math.isnan(fit.p_misfit) else fit.p_misfit)

    def fitting(self, confidence: float) -> list[Fit]:
        """The fits that the data do not reject."""
        return [fit for fit in self.fits if not fit.p_misfit < 1 - confidence]

    def effect(self, where: str) -> Effect:
        """The limit; tests and interval hold for every model, the rejected ones included.

        From too few widths it has no error, hence no test.
        """
        effect = self.best.effect(where, self.lost)
        if not enough(self.widths):
            return replace(effect, error=math.nan)
        readings = tuple(fit.effect(where, self.lost) for fit in self.fits)
        return replace(effect, readings=readings)

    def interval(self, confidence: float) -> Interval:
        """The limit by the best model, and the union of the intervals of all models."""
        return self._union(self.fits, confidence)

    def fitting_interval(self, confidence: float) -> Interval:
        """The same over the models that the data do not reject; NaN ends if they reject all."""
        return self._union(self.fitting(confidence), confidence)

    def _union(self, fits: list[Fit], confidence: float) -> Interval:
        if not self.fits:
            return Interval(math.nan, math.nan, math.nan)
        estimate = float(self.best.limit_S.mean())
        if not fits:
            return Interval(estimate, math.nan, math.nan)
        readings = tuple(fit.effect("") for fit in fits)
        return replace(readings[0], estimate=estimate, readings=readings).interval(confidence)


def all_models(widths: int, exponents: Sequence[float] = EXPONENTS) -> list[Model]:
    """The models that so many widths can put to the test: a width more than unknowns, at least.

    One power each, with up to `MOST_SKIPPED` of the narrowest widths left out, and the least and
    the largest exponent together.
    """
    one = [Model((b,), skipped) for skipped in range(MOST_SKIPPED + 1) for b in sorted(exponents)]
    ends = sorted({min(exponents), max(exponents)})
    both = [Model(tuple(ends), 0)] if len(ends) == 2 else []
    return [m for m in one + both if widths - m.skipped > 1 + len(m.exponents)]


def fit_model(model: Model, widths: ArrayLike, values_SxW: ArrayLike) -> Fit:
    """Fits a model to each seed, by least squares over ascending widths, more than its unknowns."""
    A_WxK = model.design(widths)[model.skipped :]
    y_SxW = np.asarray(values_SxW, np.float64)[:, model.skipped :]
    coefficients_SxK = y_SxW @ np.linalg.pinv(A_WxK).T
    residual_SxW = y_SxW - coefficients_SxK @ A_WxK.T
    return Fit(model, coefficients_SxK, _p_misfit(residual_SxW, len(A_WxK[0])))


def extrapolate(
    widths: Sequence[int], values_SxW: ArrayLike, exponents: Sequence[float] = EXPONENTS
) -> Extrapolation:
    """Fits every model to the seeds that have a number at every width; widths ascend.

    A number is NaN where a run is missing or diverged; `exponents` are b of the models.
    """
    y_SxW = np.asarray(values_SxW, np.float64).reshape(-1, len(widths))
    whole_S = np.isfinite(y_SxW).all(axis=1)
    kept_SxW = y_SxW[whole_S]
    models = all_models(len(widths), exponents) if len(kept_SxW) else []
    fits = [fit_model(model, widths, kept_SxW) for model in models]
    return Extrapolation(list(widths), kept_SxW, int((~whole_S).sum()), fits)


def _p_misfit(residual_SxW: Floats, unknowns: int) -> float:
    """The F test of whether the residuals' mean over seeds is 0, for equal noise at all widths."""
    S, W = residual_SxW.shape
    if S < 2:
        return math.nan
    mean_W = residual_SxW.mean(axis=0)
    between = S * float(mean_W @ mean_W) / (W - unknowns)
    within = float(np.square(residual_SxW - mean_W).sum()) / ((S - 1) * (W - unknowns))
    if within == 0:
        return 1.0 if between == 0 else 0.0
    return float(special.fdtrc(W - unknowns, (S - 1) * (W - unknowns), between / within))
