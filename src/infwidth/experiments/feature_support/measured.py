# SPDX-License-Identifier: Apache-2.0
"""Does the error level off, over width, at the population residual? And do reports say why?

Errors and residuals are shares of the target's variance. Repeats are seeds of the features, and of
the atoms where a case has atoms of its own for each seed.

Legend: S seeds, W widths, ascending.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from infwidth.experiments.schema import SEED, Table
from infwidth.experiments.tables import Experiment, MeasuredTables
from infwidth.stats.effects import Effect
from infwidth.stats.share_effect import ShareEffect
from infwidth.stats.statistics import Interval

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

TOTAL = ("total", "total_plane")
ANALYTIC = ("cone_erf",)

ROUNDING = 1e-8
"""Errors that differ by less over seeds are one number: the features are all that their law has."""


@dataclass(frozen=True)
class Cell:
    """A case at one width.

    Attributes:
        width: H.
        error: mean over seeds.
        least, most: over seeds.
    """

    width: int
    error: float
    least: float
    most: float


@dataclass(frozen=True)
class Reports:
    """What `support_report` said of a case.

    Attributes:
        missing: how many reports said that a direction is missing.
        count: how many there are.
        named: of those that said so, the least share of the worst feature's residual that the named
            one has; NaN where nothing can be missing.
    """

    missing: int
    count: int
    named: float

    def rate(self, confidence: float) -> Interval:
        """The share that said so, with Clopper and Pearson's interval."""
        said = np.arange(self.count) < self.missing
        return ShareEffect.of_trials("", said).interval(confidence)


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
        table = self._errors(case, readout)
        return [
            Cell(int(width), float(error.mean()), float(error.min()), float(error.max()))
            for width, error in table.groupby("width", sort=True)["error"]
        ]

    def left(self, case: str, readout: Readout, steps: int | None = None) -> Effect:
        """Error at the largest width minus the population residual, paired by seed.

        Args:
            case: by name.
            readout: `best` or `adam_star`.
            steps: of the training; None is the longest.
        """
        table = self._errors(case, readout, steps)
        widest = table[table["width"] == table["width"].max()].set_index("seed")["error"]
        residual_S = self._residual_S(case)
        lost = len(residual_S) - len(widest)
        difference_S = (widest - residual_S).dropna().to_numpy()
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

    def steps(self) -> list[int]:
        """Lengths of training, ascending."""
        table = self.measured.tables["errors"]
        return sorted(int(steps) for steps in set(table["steps"]) if steps > 0)

    def functions(self, case: str) -> pd.DataFrame:
        """Target and readouts at the largest width, over x; of cases on the line."""
        table = self.measured.tables["functions"]
        return table[table["case"] == case]

    def reports(self, *cases: str) -> Reports:
        """Of some cases together."""
        table = self.measured.tables["reports"]
        rows = table[table["case"].isin(cases)]
        found = rows[rows["missing"].astype(bool)]
        named = float(found["named"].min()) if len(found) else np.nan
        return Reports(len(found), len(rows), named)

    def _errors(self, case: str, readout: Readout, steps: int | None = None) -> pd.DataFrame:
        table = self.measured.tables["errors"]
        rows = table[(table["case"] == case) & (table["readout"] == readout)]
        return rows[rows["steps"] == (rows["steps"].max() if steps is None else steps)]

    def _residual_S(self, case: str) -> pd.Series:
        table = self.measured.tables["residuals"]
        return table[table["case"] == case].set_index("seed")["residual"]


def load(folder: Path | str) -> FeatureSupport:
    """Reads and checks a folder of measurements.

    Raises:
        UserError: a file is missing or unreadable, or lacks a column or key.
    """
    keys = ("feature_support", "statistics")
    return FeatureSupport(MeasuredTables.load(folder, TABLES, *keys))


def effects(measured: FeatureSupport) -> dict[str, list[Effect]]:
    """The effects by name; their places are cases, errors are shares of the target's variance.

    - `residual_left`: error of the best readout at the largest width minus the population residual,
      for each support that leaves something out.
    - `residual_left_trained`: the same of the readout that ADAM* (reconstructed) trains.
    - `error_stays`: the error itself, of the best readout, of those cases.
    - `residual_analytic_cone`, `residual_analytic_cone_trained`: of analytic features on an open
      cone, whose population residual is 0.
    - `error_total_support`, `error_total_support_trained`: where support is total.
    - `report_finds`: the share of reports that say that a direction is missing, for each support
      that leaves something out.
    - `report_false_alarms`: the same where support is total.
    """
    limited = measured.limited
    of: dict[str, tuple[list[str], Readout]] = {
        "residual_left": (limited, "best"),
        "residual_left_trained": (limited, "adam_star"),
        "residual_analytic_cone": (_known(measured, ANALYTIC), "best"),
        "residual_analytic_cone_trained": (_known(measured, ANALYTIC), "adam_star"),
        "error_total_support": (_known(measured, TOTAL), "best"),
        "error_total_support_trained": (_known(measured, TOTAL), "adam_star"),
    }
    found = {
        name: [measured.left(case, readout) for case in cases]
        for name, (cases, readout) in of.items()
    }
    widest = [Effect.of_repeats(case, _at_widest(measured, case)) for case in limited]
    return found | {
        "error_stays": widest,
        "report_finds": [_share(measured, case) for case in limited],
        "report_false_alarms": [_share(measured, case) for case in _known(measured, TOTAL)],
    }


def _known(measured: FeatureSupport, cases: tuple[str, ...]) -> list[str]:
    return [case for case in measured.cases if case in cases]


def _at_widest(measured: FeatureSupport, case: str) -> NDArray[np.float64]:
    table = measured._errors(case, "best")
    return table.loc[table["width"] == table["width"].max(), "error"].to_numpy(np.float64)


def _share(measured: FeatureSupport, case: str) -> Effect:
    table = measured.measured.tables["reports"]
    return ShareEffect.of_trials(case, table.loc[table["case"] == case, "missing"].to_numpy(bool))
