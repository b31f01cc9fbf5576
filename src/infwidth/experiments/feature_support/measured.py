# SPDX-License-Identifier: Apache-2.0
"""Does the error level off, over width, at the population residual? And do reports say why?

Errors and residuals are shares of the target's variance. Repeats are seeds of the features, and of
the atoms where a case has atoms of its own for each seed.

Legend: S seeds, W widths, ascending.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from infwidth.experiments.schema import SEED, Table
from infwidth.experiments.tables import Experiment, MeasuredTables
from infwidth.stats.effects import Effect, ShareEffect

TABLES = {
    "residuals": Table(("case", "inputs"), SEED, outcomes=("residual",)),
    "errors": Table(("case", "readout", "width", "steps"), SEED, outcomes=("error",)),
    "functions": Table(("case", "x"), outcomes=("target", "best", "adam_star"), close=1e-1),
    "reports": Table(
        ("case",),
        SEED,
        outcomes=("p_value", "score", "missing"),
        shown=("named", "one_sided"),
    ),
}

Readout = Literal["best", "adam_star"]

ANALYTIC = "cone_erf"

ROUNDING = 1e-8
"""Errors that differ by less over seeds are one number: the features are all that their law has."""


class Cell(NamedTuple):
    """A case at one width H: its error, the mean over seeds, and the least and most of any."""

    width: int
    error: float
    least: float
    most: float


@dataclass(frozen=True)
class FeatureSupport(Experiment):
    """What the experiment measured."""

    @property
    def settings(self) -> dict[str, Any]:
        """Of the experiment."""
        return self.measured.settings["feature_support"]

    @property
    def cases(self) -> list[str]:
        """In the order in which they were run, total support first."""
        return list(dict.fromkeys(self.measured.tables["residuals"]["case"]))

    @property
    def limited(self) -> list[str]:
        """Those whose support leaves something of the target out of reach."""
        return [case for case in self.cases if self.residual(case) > 0]

    def residual(self, case: str) -> float:
        """The population residual; the mean over seeds where it depends on them."""
        return float(self._residual_S(case).mean())

    def curve(self, case: str, readout: Readout) -> list[Cell]:
        """Errors over width; of the longest training, where the readout is trained."""
        return [
            Cell(int(width), float(error.mean()), float(error.min()), float(error.max()))
            for width, error in self._errors(case, readout).groupby("width", sort=True)["error"]
        ]

    def left(self, case: str, readout: Readout) -> Effect:
        """Error at the largest width minus the population residual, paired by seed."""
        table = self._errors(case, readout)
        widest = table[table["width"] == table["width"].max()].set_index("seed")["error"]
        residual_S = self._residual_S(case)
        difference_S = (widest - residual_S).dropna().to_numpy()
        lost = len(residual_S) - len(difference_S)
        if len(difference_S) > 1 and not lost and np.ptp(difference_S) < ROUNDING:
            exact = Effect.exact(case, float(difference_S.mean()))
            return replace(exact, count=len(difference_S))
        return Effect.of_repeats(case, difference_S, lost)

    def margin(self, readout: Readout) -> float:
        """Within which an error counts as the residual."""
        return float(self.settings["margin" if readout == "best" else "trained_margin"])

    def levels_off(self, case: str, readout: Readout) -> bool:
        """Whether the error at the largest width is the residual, within the margin (TOST)."""
        left, margin = self.left(case, readout), self.margin(readout)
        level = 1 - self.confidence
        return max(left.p_above(-margin), left.p_below(margin)) < level

    @property
    def steps(self) -> int:
        """Of the longest training."""
        return int(self.rows("errors")["steps"].max())

    def reports(self, case: str) -> Effect:
        """The share of a case's reports that say that a direction is missing."""
        missing = self.rows("reports", case=case)["missing"].to_numpy(bool)
        return ShareEffect.of_trials(case, missing)

    def _errors(self, case: str, readout: Readout) -> pd.DataFrame:
        """Rows of errors, of the longest training where the readout is trained."""
        rows = self.rows("errors", case=case, readout=readout)
        return rows[rows["steps"] == rows["steps"].max()]

    def _residual_S(self, case: str) -> pd.Series:
        return self.rows("residuals", case=case).set_index("seed")["residual"]


def load(folder: Path | str) -> FeatureSupport:
    """Reads and checks a folder of measurements."""
    return FeatureSupport(MeasuredTables.load(folder, TABLES, "feature_support", "statistics"))


def effects(measured: FeatureSupport) -> dict[str, list[Effect]]:
    """The effects by name; their places are cases, errors are shares of the target's variance.

    - `residual_left`: error of the best readout at the largest width minus the population residual,
      for each support that leaves something out.
    - `residual_analytic_cone`: the same of analytic features on an open cone, whose population
      residual is 0.
    - `report_finds`: the share of reports that say that a direction is missing, for each support
      that leaves something out.
    """
    return {
        "residual_left": [measured.left(case, "best") for case in measured.limited],
        "residual_analytic_cone": [
            measured.left(case, "best") for case in measured.cases if case == ANALYTIC
        ],
        "report_finds": [measured.reports(case) for case in measured.limited],
    }
