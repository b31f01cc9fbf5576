# SPDX-License-Identifier: Apache-2.0
"""How far finite models are from the infinite one: slopes over width, and where Adam goes.

Legend: R seeds, W widths from which slopes are fitted. Distances are root mean squares over
examples and outputs.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from infwidth.experiments.schema import SEED, Table
from infwidth.experiments.tables import SETTINGS, Experiment, MeasuredTables
from infwidth.stats.effects import Effect
from infwidth.stats.statistics import Interval, SampleMean, log_slopes, mean_interval
from infwidth.stats.verdicts import Evidence, Verdict, at_every_width, tracks, verdict
from infwidth.stored import require

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

SPLITS = {"test": "test", "train": "training"}
"""With the words of tables and claims."""

VIEWS = ("outputs", "centred")
"""Outputs as they are, and without their mean over classes, which no softmax sees."""

EXPECTED_SLOPE = -0.5
"""An average over H units has a standard error in proportion to H^−½."""


class Slope(NamedTuple):
    """Slope of log distance on log width, over seeds.

    The interval `of_test` is that of the equivalence test: it lies within the margin exactly where
    the test says so. The evidence is on "the slope is −1/2 within the margin".
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
        return self._values("width")

    @property
    def fitted_widths(self) -> list[int]:
        """The widths from which slopes are fitted."""
        return [width for width in self.widths if width >= self.settings["slope_from"]]

    @cached_property
    def seeds(self) -> list[int]:
        """Of the features."""
        return self._values("seed")

    @cached_property
    def steps(self) -> list[int]:
        """The steps after which models were compared."""
        return self._values("step")

    def distances(self, rule: str, split: str, step: int | None = None) -> pd.DataFrame:
        """Distance from the exact machine (for `adam` from ADAM*'s): a row a seed, a column a H."""
        step = self.steps[-1] if step is None else step
        rows = self.rows("curves", rule=rule, split=split, step=step)
        return rows.pivot(index="seed", columns="width", values="distance")

    def loss(self, rule: str, split: str, width: int) -> SampleMean:
        """Final loss, nats per example, over seeds."""
        place = {"rule": rule, "split": split, "step": self.steps[-1], "width": width}
        return mean_interval(self.rows("curves", **place)["loss"], self.confidence)

    def limit(self, rule: str, split: str, column: str, step: int | None = None) -> float:
        """A column of the exact machine's scores, at the end by default."""
        step = self.steps[-1] if step is None else step
        return float(self.rows("limits", rule=rule, split=split, step=step)[column].iloc[0])

    def slopes(self, rule: str, split: str) -> NDArray[np.float64]:
        """The slope of a rule with a kernel, fitted for each seed by itself, shape (R,)."""
        distance_RxW = self.distances(rule, split)[self.fitted_widths].to_numpy()
        return log_slopes(distance_RxW, self.fitted_widths)

    def slope(self, rule: str, split: str) -> Slope:
        """Their mean, judged by the rule."""
        slope_R = self.slopes(rule, split)
        evidence = tracks(Effect.of_repeats("", slope_R - EXPECTED_SLOPE), self.margin)
        return Slope(
            mean_interval(slope_R, self.confidence),
            mean_interval(slope_R, 2 * self.confidence - 1),
            evidence,
            verdict(evidence, self.confidence, self._judge),
        )

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
        rows = self.rows("gaps", reference=reference, split=split, view=view)
        return rows.pivot(index="seed", columns="width", values="distance")

    @property
    def _judge(self) -> bool:
        return bool(self.measured.settings["statistics"]["judge"])

    def _values(self, column: str) -> list[int]:
        """Of the curves, ascending."""
        return sorted(int(value) for value in self.rows("curves")[column].unique())

    def _products(self, rule: str, width: int, split: str, view: str) -> NDArray[np.float64]:
        """Mean products of the differences from ADAM*'s limit, of all pairs of seeds."""
        rows = self.rows("products", rule=rule, width=width, split=split, view=view)
        half = rows.pivot(index="seed_a", columns="seed_b", values="product").to_numpy()
        return np.where(np.isnan(half), half.T, half)

    def _jackknife(self, values: NDArray[np.float64]) -> Interval:
        """From the estimate of all seeds, and those without each of them, to an interval."""
        estimate, without_R = float(values[0]), values[1:]
        R, error = len(without_R), math.nan
        if R > 2:
            error = math.sqrt((R - 1) / R * np.square(without_R - without_R.mean()).sum())
        return Effect("", estimate, error, R - 1, R).interval(self.confidence)


def load(folder: Path | str) -> Convergence:
    """Reads and checks a folder of measurements."""
    measured = MeasuredTables.load(folder, TABLES, "convergence", "statistics")
    path, settings = measured.folder / SETTINGS, measured.settings
    require(path, "convergence", settings["convergence"], ("slope_from", "slope_margin"))
    require(path, "statistics", settings["statistics"], ("confidence", "judge"))
    return Convergence(measured)


def effects(measured: Convergence) -> dict[str, list[Effect]]:
    """Slopes over width, and how far from ADAM*'s limit elementwise Adam ends.

    `slope`: of log distance from the exact kernel machine on log width, fitted for each seed, of
    every rule with a kernel on test and training examples. `adam_limit_distance`: the squared
    distance of elementwise Adam's limit from ADAM*'s, by the jackknife over seeds.
    """

    def slope(rule: str, split: str) -> Effect:
        slope_R = measured.slopes(rule, split)
        finished_R = slope_R[np.isfinite(slope_R)]
        where = f"{KERNEL_RULES[rule]}, {SPLITS[split]}"
        return Effect.of_repeats(where, finished_R, lost=len(slope_R) - len(finished_R))

    def limit(view: str, split: str) -> Effect:
        gap, seeds, error = measured.limit_gap(split, view), len(measured.seeds), math.nan
        if seeds > 1:
            t = float(special.stdtrit(seeds - 1, (1 + measured.confidence) / 2))
            error = gap.half_width / t
        return Effect(f"{view}, {SPLITS[split]}", gap.estimate, error, seeds - 1, seeds)

    return {
        "slope": [slope(*place) for place in product(KERNEL_RULES, SPLITS)],
        "adam_limit_distance": [limit(*place) for place in product(VIEWS, SPLITS)],
    }


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
