# SPDX-License-Identifier: Apache-2.0
"""How far finite models are from the infinite one: slopes over width, and where Adam goes.

Legend: R seeds, W widths from which slopes are fitted. Distances are root mean squares over
examples and outputs.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from infwidth.experiments.schema import SEED, Table
from infwidth.experiments.tables import SETTINGS, Experiment, MeasuredTables
from infwidth.reading import require
from infwidth.stats.statistics import Interval, SampleMean, log_slopes, mean_interval
from infwidth.stats.verdicts import Evidence, Verdict, at_every_width, tracks, verdict

TABLES = {
    "curves": Table(
        ("rule", "width", "split", "step"),
        SEED,
        outcomes=("loss", "accuracy", "distance"),
        shown=("rms_outputs", "rms_centred"),
    ),
    "limits": Table(
        ("rule", "split", "step"),
        outcomes=("loss", "accuracy", "rms_outputs"),
        shown=("rms_centred",),
        close=1e-2,
    ),
    # Products of all pairs of seeds are no independent repeats: the claims judge them.
    "products": Table(("rule", "width", "view", "split", "seed_a", "seed_b"), shown=("product",)),
    "gaps": Table(("width", "reference", "view", "split"), SEED, outcomes=("distance",)),
}

KERNEL_RULES = {"sgd": "SGD", "momentum": "SGD, momentum", "adam_star": "ADAM*"}
"""Rules that have a kernel machine as their limit, and their names."""

ADAM = "Adam, elementwise"

SPLITS = ("test", "train")

VIEWS = ("outputs", "centred")
"""Outputs as they are, and without their mean over classes, which no softmax sees."""

EXPECTED_SLOPE = -0.5
"""An average over H units has a standard error in proportion to H^−½."""


@dataclass(frozen=True)
class Slope:
    """Slope of log distance on log width.

    Attributes:
        mean: over seeds, with its interval.
        of_test: the same with the interval of the equivalence test: it lies within the margin
            exactly where the test says so.
        evidence: p values of "the slope is −1/2 within the margin" and of its opposite.
        verdict: by the rule.
    """

    mean: SampleMean
    of_test: SampleMean
    evidence: Evidence
    verdict: Verdict


@dataclass(frozen=True)
class Convergence(Experiment):
    """What the experiment measured."""

    @property
    def settings(self) -> dict[str, Any]:
        """Of the experiment."""
        return self.measured.settings["convergence"]

    @property
    def margin(self) -> float:
        """Deviation from the expected slope that counts as none."""
        return float(self.settings["slope_margin"])

    @cached_property
    def widths(self) -> list[int]:
        """H, ascending."""
        return sorted(int(width) for width in self.measured.tables["curves"]["width"].unique())

    @property
    def fitted_widths(self) -> list[int]:
        """The widths from which slopes are fitted."""
        return [width for width in self.widths if width >= self.settings["slope_from"]]

    @cached_property
    def seeds(self) -> list[int]:
        """Of the features."""
        return sorted(int(seed) for seed in self.measured.tables["curves"]["seed"].unique())

    @cached_property
    def steps(self) -> list[int]:
        """The steps after which models were compared."""
        return sorted(int(step) for step in self.measured.tables["curves"]["step"].unique())

    def distances(self, rule: str, split: str, step: int | None = None) -> pd.DataFrame:
        """Distance from the exact machine (for `adam` from ADAM*'s): a row a seed, a column a H."""
        step = self.steps[-1] if step is None else step
        rows = self._curve(rule, split, step)
        return rows.pivot(index="seed", columns="width", values="distance")

    def loss(self, rule: str, split: str, width: int) -> SampleMean:
        """Final loss, nats per example, over seeds."""
        rows = self._curve(rule, split, self.steps[-1])
        return mean_interval(rows.loc[rows["width"] == width, "loss"], self.confidence)

    def limit(self, rule: str, split: str, column: str, step: int | None = None) -> float:
        """A column of the exact machine's scores, at the end by default."""
        table = self.measured.tables["limits"]
        step = self.steps[-1] if step is None else step
        chosen = (table["rule"] == rule) & (table["split"] == split) & (table["step"] == step)
        return float(table.loc[chosen, column].iloc[0])

    def slopes(self, rule: str, split: str) -> NDArray[np.float64]:
        """The slope of a rule with a kernel, fitted for each seed by itself, shape (R,)."""
        distance_RxW = self.distances(rule, split)[self.fitted_widths].to_numpy()
        return log_slopes(distance_RxW, self.fitted_widths)

    def slope(self, rule: str, split: str) -> Slope:
        """Their mean, judged by the rule."""
        return self._judged(self.slopes(rule, split))

    def all_slopes(self) -> float:
        """p value that every rule's slope, on test and training examples, is −1/2."""
        evidence = [self.slope(r, s).evidence for r in KERNEL_RULES for s in SPLITS]
        return at_every_width(evidence).p_holds

    def from_star(self, rule: str, width: int, split: str, view: str) -> Interval:
        """Distance of single models of `adam_star` or `adam` from ADAM*'s limit, at the end."""
        square_R = np.diag(self._products(rule, width, split, view))
        return geometric_mean(np.sqrt(square_R), self.confidence)

    def gap(self, rule: str, width: int, split: str, view: str) -> Interval:
        """Squared distance from ADAM*'s limit of what the rule has as its mean over seeds.

        From products of pairs of different seeds: the noise of single models, which a mean of
        squares would add, is not in it. It may come out negative.
        """
        product_RxR = self._products(rule, width, split, view)
        return self._jackknife(np.array([_pair_mean(p) for p in _leave_one_out(product_RxR)]))

    def limit_gap(self, split: str, view: str) -> Interval:
        """The squared distance of elementwise Adam from ADAM*, extrapolated to infinite width.

        A line in 1/H through the pair estimates at the fitted widths: the mean over seeds is off by
        O(1/H). Weights are H, since that far from 0 the estimates' variance is in proportion to
        1/H. The interval is of the jackknife over seeds.
        """
        by_width = [
            [_pair_mean(p) for p in _leave_one_out(self._products("adam", width, split, view))]
            for width in self.fitted_widths
        ]
        root_W = np.sqrt(self.fitted_widths)
        design_Wx2 = np.stack([root_W, 1 / root_W], axis=1)
        weighted_WxR = root_W[:, None] * np.array(by_width)
        return self._jackknife(np.linalg.lstsq(design_Wx2, weighted_WxR, rcond=None)[0][0])

    def limits_differ(self, split: str, view: str) -> str:
        """Whether elementwise Adam's limit is another than ADAM*'s: the interval lies above 0."""
        if not self._judge:
            return str(Verdict.TOO_SMALL)
        return "differs" if self.limit_gap(split, view).lower > 0 else "not resolved"

    def adam_distances(self, reference: str, split: str, view: str) -> pd.DataFrame:
        """Distance of elementwise Adam from `adam_star` at its width, or from the `widest` Adam."""
        table = self.measured.tables["gaps"]
        rows = table[
            (table["reference"] == reference) & (table["split"] == split) & (table["view"] == view)
        ]
        return rows.pivot(index="seed", columns="width", values="distance")

    @property
    def _judge(self) -> bool:
        return bool(self.measured.settings["statistics"]["judge"])

    def _judged(self, slope_R: NDArray[np.float64]) -> Slope:
        evidence = tracks(slope_R - EXPECTED_SLOPE, self.margin)
        return Slope(
            mean_interval(slope_R, self.confidence),
            mean_interval(slope_R, 2 * self.confidence - 1),
            evidence,
            verdict(evidence, self.confidence, self._judge),
        )

    def _curve(self, rule: str, split: str, step: int) -> pd.DataFrame:
        table = self.measured.tables["curves"]
        return table[(table["rule"] == rule) & (table["split"] == split) & (table["step"] == step)]

    def _products(self, rule: str, width: int, split: str, view: str) -> NDArray[np.float64]:
        """Mean products of the differences from ADAM*'s limit, of all pairs of seeds."""
        table = self.measured.tables["products"]
        rows = table[
            (table["rule"] == rule)
            & (table["width"] == width)
            & (table["split"] == split)
            & (table["view"] == view)
        ]
        half = rows.pivot(index="seed_a", columns="seed_b", values="product").to_numpy()
        return np.where(np.isnan(half), half.T, half)

    def _jackknife(self, values: NDArray[np.float64]) -> Interval:
        """From the estimate of all seeds, and those without each of them, to an interval."""
        estimate, without_R = float(values[0]), values[1:]
        R = len(without_R)
        if R < 3:
            return Interval(estimate, math.nan, math.nan)
        error = math.sqrt((R - 1) / R * np.square(without_R - without_R.mean()).sum())
        half = float(special.stdtrit(R - 1, (1 + self.confidence) / 2)) * error
        return Interval(estimate, estimate - half, estimate + half)


def load(folder: Path | str) -> Convergence:
    """Reads and checks a folder of measurements.

    Raises:
        UserError: a file is missing or unreadable, or lacks a column or key.
    """
    measured = MeasuredTables.load(folder, TABLES, "convergence", "statistics")
    path, settings = measured.folder / SETTINGS, measured.settings
    require(path, "convergence", settings["convergence"], ("slope_from", "slope_margin"))
    require(path, "statistics", settings["statistics"], ("confidence", "judge"))
    return Convergence(measured)


def geometric_mean(values: NDArray[np.float64] | pd.Series, confidence: float) -> Interval:
    """Mean of positive values on the scale of their logarithms, with its t interval."""
    mean = mean_interval(np.log(np.asarray(values, np.float64)), confidence)
    return Interval(*(math.exp(x) for x in (mean.estimate, mean.lower, mean.upper)))


def root(square: Interval) -> Interval:
    """The root of an estimate of a square; what is negative counts as 0."""
    ends = (square.estimate, square.lower, square.upper)
    return Interval(*(math.nan if math.isnan(x) else math.sqrt(max(x, 0.0)) for x in ends))


def _leave_one_out(product_RxR: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The matrix itself, and without each of its seeds."""
    R = len(product_RxR)
    others = [np.delete(np.arange(R), r) for r in range(R)]
    return [product_RxR, *(product_RxR[np.ix_(kept, kept)] for kept in others)]


def _pair_mean(product_RxR: NDArray[np.float64]) -> float:
    """Mean of the products of two different seeds."""
    R = len(product_RxR)
    if R < 2:
        return math.nan
    return float((product_RxR.sum() - np.trace(product_RxR)) / (R * (R - 1)))
