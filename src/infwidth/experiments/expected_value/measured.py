# SPDX-License-Identifier: Apache-2.0
"""Is the mean over inits of the finite model the infinite model? Estimates, intervals, slopes.

Legend: R inits, W widths, P points and E outputs (K = P E). d_r is the difference of one finite
model's outputs from the infinite model's; squares of it are means over the K outputs.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from infwidth.experiments.convergence.measured import root
from infwidth.experiments.schema import Table
from infwidth.experiments.tables import Experiment, MeasuredTables
from infwidth.stats.effects import Effect, LargestEffect
from infwidth.stats.statistics import Interval

TABLES = {
    # No training is in these: nothing amplifies rounding.
    "fixed": Table(
        ("width", "point", "output"),
        outcomes=("mean", "variance"),
        counted=("inits",),
        close=1e-3,
    ),
    "trained": Table(("case", "width"), ("init",), outcomes=("square", "product")),
    "infinite": Table(("case",), outcomes=("mean_square", "accuracy"), close=1e-2),
}


LABELS = {"adam_star": "ADAM*", "sgd": "SGD", "sgd_squared": "SGD, squared error"}
"""Places of the claims, by case."""


class FixedCell(NamedTuple):
    """The fixed readout function at one width H, over R inits, relative to the infinite outputs.

    `single` is the root mean square difference of one finite model, `mean` that of the mean over
    inits, and `noise` what `mean` is expected to be if there is no bias. `largest_z` is the largest
    difference of the mean at an output in standard errors, and `critical_z` the rule's limit of it,
    by Bonferroni over all outputs and widths. At each output the mean is `mean_K` ± `error_K`.
    """

    width: int
    inits: int
    single: float
    mean: float
    noise: float
    largest_z: float
    critical_z: float
    mean_K: NDArray[np.float64]
    error_K: NDArray[np.float64]

    @property
    def unbiased(self) -> bool:
        """Whether no output's mean is further off than the Monte-Carlo error allows."""
        return self.largest_z <= self.critical_z


class TrainedCell(NamedTuple):
    """Models trained at one width H, over R inits, relative to the infinite outputs.

    `single` is the root mean square difference of one finite model; the squared bias is a pair
    estimate, with its standard error by the jackknife.
    """

    width: int
    inits: int
    single: float
    squared_bias: Interval
    standard_error: float

    @property
    def resolved(self) -> bool:
        """Whether the interval lies above 0."""
        return self.squared_bias.lower > 0

    @property
    def bias(self) -> Interval:
        """The root of the squared bias; what is negative counts as 0."""
        return root(self.squared_bias)


@dataclass(frozen=True)
class ExpectedValue(Experiment):
    """What the experiment measured."""

    @property
    def cases(self) -> list[str]:
        """The training rules, in the order in which they were run."""
        return self.rows("infinite")["case"].tolist()

    def fixed(self) -> list[FixedCell]:
        """Every width of the fixed readout function, ascending."""
        size = self._mean_square(self.cases[0])
        groups = self.rows("fixed").groupby("width", sort=True)
        cells = []
        for width, rows in groups:
            inits = int(rows["inits"].iloc[0])
            mean_K = rows["mean"].to_numpy()
            error_K = np.sqrt(rows["variance"].to_numpy() / inits)
            cells.append(
                FixedCell(
                    int(width),
                    inits,
                    single=math.sqrt(rows["variance"].mean() / size),
                    mean=math.sqrt(np.square(mean_K).mean() / size),
                    noise=math.sqrt(np.square(error_K).mean() / size),
                    largest_z=float(np.max(np.abs(mean_K / error_K))),
                    critical_z=critical_z(inits, len(rows) * len(groups), self.confidence),
                    mean_K=mean_K / math.sqrt(size),
                    error_K=error_K / math.sqrt(size),
                )
            )
        return cells

    def trained(self, case: str) -> list[TrainedCell]:
        """The widths that were tried for a rule, ascending; all but the last are resolved."""
        size = self._mean_square(case)
        cells = []
        for width, rows in self.rows("trained", case=case).groupby("width", sort=True):
            square_R, product_R = rows["square"] / size, rows["product"] / size
            estimate, error = pair_estimate(square_R, product_R)
            interval = interval_of(estimate, error, len(rows), self.confidence)
            single = math.sqrt(float(square_R.mean()))
            cells.append(TrainedCell(int(width), len(rows), single, interval, error))
        return cells

    def slope(self, case: str) -> Interval:
        """The exponent of the bias in the width, −1 by theory to leading order."""
        cells = self.trained(case)
        return bias_slope(
            [cell.width for cell in cells],
            [cell.squared_bias.estimate for cell in cells],
            [cell.standard_error for cell in cells],
            self.confidence,
        )

    def _mean_square(self, case: str) -> float:
        return float(self.rows("infinite", case=case)["mean_square"].iloc[0])


def load(folder: Path | str) -> ExpectedValue:
    """Reads and checks a folder of measurements."""
    return ExpectedValue(MeasuredTables.load(folder, TABLES, "expected_value", "statistics"))


def effects(measured: ExpectedValue) -> dict[str, list[Effect]]:
    """Biases of a fixed readout function, by width, and how those of trained models fall.

    `fixed_bias`: the largest absolute bias of any output, relative to the root mean square of the
    infinite outputs. `trained_bias_exponent`: p in bias ∝ H^p, by rule.
    """

    def exponent(case: str) -> Effect:
        """The error is that of a normal law with an interval as wide as the profile's."""
        slope = measured.slope(case)
        error = slope.half_width / float(special.ndtri((1 + measured.confidence) / 2))
        error = error if math.isfinite(error) else math.nan
        # Repeats are the inits of all widths: the exponent rests on each of them.
        inits = sum(cell.inits for cell in measured.trained(case))
        return Effect(LABELS.get(case, case), slope.estimate, error, math.inf, inits)

    return {
        "fixed_bias": [
            LargestEffect.of_means(f"H = {cell.width:,}", cell.mean_K, cell.error_K, cell.inits)
            for cell in measured.fixed()
        ],
        "trained_bias_exponent": [exponent(case) for case in measured.cases],
    }


def pair_estimate(square: ArrayLike, product: ArrayLike) -> tuple[float, float]:
    """The mean of d_r · d_s over all pairs of different inits, and its standard error.

    From |d_r|² and d_r · (mean of d over inits), each of shape (R,). The expectation is |E d|²,
    whatever the noise, where that of |mean of d|² is larger by the variance over R; the estimate
    may be negative. The error is the jackknife's. Where there is no bias the jackknife overstates
    the variance, by up to a factor of 2, so that its interval is conservative: a bias counts as
    resolved more seldom than the confidence says.
    """
    square_R, product_R = (np.asarray(x, np.float64) for x in (square, product))
    R = square_R.size
    if R < 3:
        raise ValueError(f"pairs with a jackknife need 3 inits; got {R}")
    total = R**2 * product_R.mean()
    estimate = (total - square_R.sum()) / (R * (R - 1))
    without_R = total - 2 * R * product_R + square_R - (square_R.sum() - square_R)
    without_R = without_R / ((R - 1) * (R - 2))
    error = math.sqrt((R - 1) * float(np.mean(np.square(without_R - without_R.mean()))))
    return float(estimate), error


def interval_of(estimate: float, error: float, count: int, confidence: float) -> Interval:
    """The two-sided t interval of a jackknifed estimate over `count` inits."""
    return Effect("", estimate, error, count - 1, count).interval(confidence)


def critical_z(inits: int, comparisons: int, confidence: float) -> float:
    """The limit that none of `comparisons` unbiased means exceeds, but with probability 1 − C.

    By Bonferroni, which holds however the means depend on each other.
    """
    return float(-special.stdtrit(inits - 1, (1 - confidence) / (2 * comparisons)))


def bias_slope(
    width: ArrayLike, squared_bias: ArrayLike, error: ArrayLike, confidence: float
) -> Interval:
    """Fits squared bias = a H^2p, with standard errors, by weighted least squares and returns p.

    On the squares themselves and not on their logarithms, so that estimates that are not resolved,
    even negative ones, count for what they are: leaving them out would favour large ones. The
    interval is that in which χ² rises by no more than its quantile. An end is infinite where the
    widths do not bound p; all is NaN for fewer than 2 widths.
    """
    log_W = np.log(np.asarray(width, np.float64))
    y_W, error_W = np.asarray(squared_bias, np.float64), np.asarray(error, np.float64)
    if log_W.size < 2:
        return Interval(math.nan, math.nan, math.nan)
    scaled_W = y_W / error_W

    def chi2(slope: float) -> float:
        shape_W = np.exp(2 * slope * (log_W - log_W.mean())) / error_W
        height = max(float(shape_W @ scaled_W / np.square(shape_W).sum()), 0.0)
        return float(np.square(scaled_W - height * shape_W).sum())

    # χ² may have several minima: a grid finds the deepest, and the search within it the rest.
    slope_G = np.linspace(-4, 2, 601)
    chi2_G = np.array([chi2(slope) for slope in slope_G])
    best = int(np.argmin(chi2_G))
    beside = slope_G[max(best - 1, 0)], slope_G[min(best + 1, len(slope_G) - 1)]
    found = optimize.minimize_scalar(chi2, bounds=beside, method="bounded", options={"xatol": 1e-9})
    limit = float(found.fun + special.chdtri(1, 1 - confidence))

    def end(outwards_G: NDArray[np.float64], unbounded: float) -> float:
        """Where χ² passes the limit for the last time on the way out."""
        inside = [i for i, slope in enumerate(outwards_G) if chi2(slope) <= limit][-1]
        if inside == len(outwards_G) - 1:
            return unbounded
        return float(
            optimize.brentq(lambda slope: chi2(slope) - limit, *outwards_G[inside : inside + 2])
        )

    below_G, above_G = slope_G[slope_G < found.x][::-1], slope_G[slope_G > found.x]
    lower = end(np.append(found.x, below_G), -math.inf)
    upper = end(np.append(found.x, above_G), math.inf)
    return Interval(float(found.x), lower, upper)


def squares_and_products(
    d_RxK: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What `pair_estimate` needs of each init's differences: means over the K outputs."""
    K = d_RxK.shape[1]
    return np.square(d_RxK).sum(axis=1) / K, d_RxK @ d_RxK.mean(axis=0) / K
