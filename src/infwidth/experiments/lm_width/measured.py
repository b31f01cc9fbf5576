# SPDX-License-Identifier: Apache-2.0
"""The measurements of one configuration, as the experiment wrote them: read, checked, looked up.

Legend: S seeds, D test documents. Every loss is in nats per token.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError

from infwidth.config.errors import UserError
from infwidth.config.section import StatisticsSettings
from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.lm_width.plan import part_name
from infwidth.experiments.schema import CURVES, PARAMETERS, Table, runs_table
from infwidth.experiments.tables import SETTINGS, Experiment, MeasuredTables
from infwidth.reading import require
from infwidth.stats.selection import Choice, Trial, choose

_PARAMETERS = tuple(f"parameters_{kind}" for kind in PARAMETERS)
TABLES = {
    "runs": runs_table(
        "variant", counted=("steps", "tokens", "flops", *_PARAMETERS, "optimizer_state_bytes")
    ),
    "curves": replace(CURVES, shown=("learning_rate",)),
    "documents": Table(
        ("document", "name"),
        outcomes=("loss_sum",),
        counted=("tokens",),
        loose=("key",),
        by_run=True,
    ),
}
SELECTION_KEYS = ("learning_rate", "kappa", "interior", "note", "trials", "extensions")
TRIAL_KEYS = ("learning_rate", "kappa", "mean_validation_loss", "status")
ROLES = ("trunk", "tuning", "check", "one_rate", "report")


@dataclass(frozen=True)
class Measurements(Experiment):
    """Everything that tables and figures are made from.

    Attributes:
        statistics: the settings of intervals and verdicts.
    """

    statistics: StatisticsSettings

    @property
    def runs(self) -> pd.DataFrame:
        """One row a (run, role)."""
        return self.measured.tables["runs"]

    @property
    def documents(self) -> pd.DataFrame:
        """One row a (reported run, test document): `loss_sum` in nats, `tokens`."""
        return self.measured.tables["documents"]

    @property
    def curves(self) -> pd.DataFrame:
        """One row a (reported run, logged stretch): training loss."""
        return self.measured.tables["curves"]

    @property
    def reported(self) -> pd.DataFrame:
        """The runs whose losses are reported."""
        return self.runs[self.runs["role"] == "report"]

    @property
    def variants(self) -> list[str]:
        """The variants reported, in the order of the table of variants."""
        present = set(self.reported["variant"])
        return [variant for variant in ALL_VARIANTS if variant in present]

    @property
    def widths(self) -> list[int]:
        """The MLP widths reported, ascending; the configured ones if only `constant` ran."""
        found = sorted({int(width) for width in self.reported["width"] if width > 0})
        return found or sorted(self.settings["lm_width"]["widths"])

    @property
    def reference_width(self) -> int:
        """The width whose rate the runs at one rate have."""
        return int(self.settings["lm_width"]["reference_width"])

    @property
    def seeds(self) -> list[int]:
        """The seeds that every cell was to report, whether or not its run is there."""
        return sorted(self.settings["lm_width"]["seeds"])

    def cell(self, variant: str, width: int, role: str = "report") -> pd.DataFrame:
        """The runs of a variant at a width, by seed; `constant` serves every width."""
        width = 0 if variant == "constant" else width
        runs = self.runs[self.runs["role"] == role]
        chosen = runs[(runs["variant"] == variant) & (runs["width"] == width)]
        return chosen.sort_values("seed")

    def losses(self, variant: str, width: int, role: str = "report") -> dict[int, float]:
        """Test loss by seed of the runs that finished; role `one_rate`: at the one rate."""
        runs = self.cell(variant, width, role)
        runs = runs[(runs["status"] == "done") & np.isfinite(runs["test_loss"])]
        return dict(zip(runs["seed"].astype(int).tolist(), runs["test_loss"].tolist(), strict=True))

    def diverged(self, variant: str, width: int) -> int:
        """Number of reported runs of this cell that diverged."""
        return len(self.cell(variant, width)) - len(self.losses(variant, width))

    def document_losses(
        self, variant: str, width: int, seeds: list[int] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Summed loss and tokens of each test document, by seed.

        Args:
            variant: which variant.
            width: which MLP width.
            seeds: which seeds, all that finished by default.

        Returns:
            loss_SxD in nats and tokens_SxD; empty if no run of the cell has document rows.

        Raises:
            UserError: the seeds were not scored on the same documents.
        """
        done = self.losses(variant, width)
        runs = self.cell(variant, width).set_index("seed")
        keys = [runs.loc[seed, "key"] for seed in (done if seeds is None else seeds)]
        rows = self.documents[self.documents["key"].isin(keys) & (self.documents["tokens"] > 0)]
        if rows.empty:
            return np.zeros((0, 0)), np.zeros((0, 0))
        wide = rows.pivot(index="key", columns="document", values=["loss_sum", "tokens"])
        if wide.isna().to_numpy().any() or len(wide) != len(set(keys)):
            raise UserError(
                f"{self.measured.folder / 'documents.parquet'}: the runs of {variant} at width "
                f"{width} were not scored on the same documents; train them anew"
            )
        wide = wide.loc[keys].astype(np.float64)
        return wide["loss_sum"].to_numpy(), wide["tokens"].to_numpy()

    def choice(self, variant: str, width: int) -> dict[str, Any] | None:
        """What tuning chose for a variant at a width, and every cell that it tried."""
        name = part_name(variant, 0 if variant == "constant" else width)
        chosen: dict[str, Any] | None = self.settings["selection"].get(name)
        return chosen

    def trials(self, variant: str, width: int) -> list[Trial]:
        """The cells that tuning tried for a variant at a width, each with its mean loss."""
        found = []
        for row in (self.choice(variant, width) or {"trials": []})["trials"]:
            lost = row["status"] != "done" or row["mean_validation_loss"] is None
            loss = math.nan if lost else float(row["mean_validation_loss"])
            rate = float(row["learning_rate"])
            # As often as there were seeds: how many tells a cell that fell out of the race.
            found += [Trial(rate, loss, n, lost, row["kappa"]) for n in range(row["seeds"])]
        return found

    def choice_at_kappa(self, variant: str, width: int, kappa: float) -> Choice | None:
        """What tuning would have chosen had κ been held at this value; None if never tried."""
        trials = [trial for trial in self.trials(variant, width) if trial.kappa == kappa]
        return choose(trials, self.tolerance) if trials else None

    @property
    def tolerance(self) -> float:
        """Difference in validation loss that tuning counts as none, nats per token."""
        return float(self.settings["lm_width"].get("tuning", {}).get("tolerance", 0.0))


def load(folder: Path | str) -> Measurements:
    """Reads and checks a folder of measurements.

    Raises:
        UserError: a file is missing or unreadable, or lacks a column or key.
    """
    tables = MeasuredTables.load(folder, TABLES, "corpus", "lm_width", "statistics", "selection")
    tables.require_known("runs", role=ROLES, variant=ALL_VARIANTS)
    path = tables.folder / SETTINGS
    for name, entry in tables.settings["selection"].items():
        require(path, f"the entry of '{name}'", entry, SELECTION_KEYS)
        for trial in entry["trials"]:
            require(path, f"a trial of '{name}'", trial, TRIAL_KEYS)
    keys = ("widths", "reference_width", "seeds")
    require(path, "lm_width", tables.settings["lm_width"], keys)
    measured = Measurements(tables, _statistics(path, tables.settings))
    if measured.reported.empty:
        path = tables.folder / "runs.parquet"
        raise UserError(f"{path}: no row has role 'report'; train the reported runs first")
    return measured


def _statistics(path: Path, settings: dict[str, Any]) -> StatisticsSettings:
    try:
        return StatisticsSettings(**settings["statistics"])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["statistics", *map(str, first["loc"])])
        raise UserError(f"{path}: {place}: {first['msg']}") from error
