# SPDX-License-Identifier: Apache-2.0
"""What the width experiment measured: read, checked, and asked for losses and comparisons.

Legend: S seeds, D test documents. Every loss is in nats per token.
"""

import math
from collections.abc import Mapping
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
from infwidth.stats.effects import Effect, GapClosed, RatioEffect
from infwidth.stats.selection import Choice, Trial, choose
from infwidth.stats.statistics import (
    Interval,
    SampleMean,
    document_interval,
    mean_interval,
    paired_power,
    required_seeds,
    resampled_losses,
)
from infwidth.stored import require

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
GAP = ("ntk", "adam_star", "frozen")
NO_INTERVAL = Interval(math.nan, math.nan, math.nan)

Cell = tuple[str, int]
"""A variant and a width."""


@dataclass(frozen=True)
class CellLoss:
    """The test loss of a variant at a width.

    Attributes:
        over_seeds: mean of the runs that finished, with its t interval.
        over_documents: the same mean with the bootstrap's interval over test documents.
        diverged: runs that diverged, which no mean contains.
    """

    over_seeds: SampleMean
    over_documents: Interval
    diverged: int


@dataclass(frozen=True)
class Comparison:
    """The loss of one variant minus that of another at a width, paired by seed.

    Attributes:
        effect: the mean difference, with its interval over test documents, paired by document.
        over_seeds: the same mean with its t interval.
        correlation: Pearson's, of the pairs over seeds; NaN for fewer than 3 pairs or a constant
            member. The variance of a difference falls by the factor 1 − correlation.
        seeds_needed: pairs that show the effect of interest with the power set; None if unknown.
        power: of the pairs there are.
    """

    width: int
    effect: Effect
    over_seeds: SampleMean
    correlation: float
    seeds_needed: int | None
    power: float


@dataclass(frozen=True)
class Measurements(Experiment):
    """Everything that tables and figures are made from."""

    statistics: StatisticsSettings

    @property
    def runs(self) -> pd.DataFrame:
        """One row a (run, role)."""
        return self.rows("runs")

    @property
    def documents(self) -> pd.DataFrame:
        """One row a (reported run, test document): `loss_sum` in nats, `tokens`."""
        return self.rows("documents")

    @property
    def reported(self) -> pd.DataFrame:
        """The runs whose losses are reported."""
        return self.rows("runs", role="report")

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
    def seeds(self) -> list[int]:
        """The seeds that every cell was to report, whether or not its run is there."""
        return sorted(self.settings["lm_width"]["seeds"])

    @property
    def tolerance(self) -> float:
        """Difference in validation loss that tuning counts as none."""
        return float(self.settings["lm_width"].get("tuning", {}).get("tolerance", 0.0))

    def cell(self, variant: str, width: int, role: str = "report") -> pd.DataFrame:
        """The runs of a variant at a width, by seed; `constant` serves every width."""
        width = 0 if variant == "constant" else width
        return self.rows("runs", variant=variant, width=width, role=role).sort_values("seed")

    def losses(self, variant: str, width: int, role: str = "report") -> dict[int, float]:
        """Test loss by seed of the runs that finished; role `one_rate`: at the one rate."""
        width = 0 if variant == "constant" else width
        return self.by_seed("runs", "test_loss", variant=variant, width=width, role=role)

    def document_losses(
        self, variant: str, width: int, seeds: list[int] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Summed loss, nats, and tokens of each test document by seed, both (S, D).

        Of all seeds that finished by default; both are empty if there are no rows of documents.

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

    def document_contrast(
        self, weights: Mapping[Cell, float], estimate: float, seeds: list[int]
    ) -> Interval:
        """The document interval of a weighted sum of mean losses, all on the same resamples.

        Args:
            weights: by cell.
            estimate: the sum's value on the documents themselves.
            seeds: over which losses are averaged.
        """
        if not seeds:
            return NO_INTERVAL
        settings = self.statistics
        documents = 0
        resampled_B = np.zeros(settings.bootstrap_samples)
        for cell, weight in weights.items():
            loss_SxD, tokens_SxD = self.document_losses(*cell, seeds)
            if not loss_SxD.size or documents not in (0, loss_SxD.shape[1]):
                return Interval(estimate, math.nan, math.nan)
            documents = loss_SxD.shape[1]
            resampled_B += weight * resampled_losses(
                loss_SxD, tokens_SxD, settings.bootstrap_samples, settings.bootstrap_seed
            )
        return document_interval(estimate, resampled_B, documents, settings.confidence)

    def loss(self, variant: str, width: int) -> CellLoss:
        """The test loss of one variant at one width, with both intervals."""
        losses = self.losses(variant, width)
        mean = mean_interval(list(losses.values()), self.statistics.confidence)
        documents = self.document_contrast({(variant, width): 1.0}, mean.estimate, list(losses))
        return CellLoss(mean, documents, len(self.cell(variant, width)) - len(losses))

    def compare(self, first: str, second: str, width: int) -> Comparison | None:
        """One variant against another at one width; None if either never ran there."""
        if self.cell(first, width).empty or self.cell(second, width).empty:
            return None
        losses = self.losses(first, width), self.losses(second, width)
        seeds = sorted(set(losses[0]) & set(losses[1]))
        first_S, second_S = (np.array([loss[seed] for seed in seeds]) for loss in losses)
        mean = mean_interval(first_S - second_S, self.statistics.confidence)
        correlation = math.nan
        if len(seeds) >= 3 and np.ptp(first_S) > 0 and np.ptp(second_S) > 0:
            correlation = float(np.corrcoef(first_S, second_S)[0, 1])
        weights = {(first, width): 1.0, (second, width): -1.0}
        documents = self.document_contrast(weights, mean.estimate, seeds)
        lost = len(self.seeds) - len(seeds)
        test = (mean.sd, self.statistics.effect_of_interest, self.statistics.confidence)
        return Comparison(
            width,
            Effect.of_repeats("", first_S - second_S, lost, documents),
            mean,
            correlation,
            required_seeds(*test, self.statistics.power),
            paired_power(mean.count, *test),
        )

    def gap_effect(self, where: str, width: int) -> RatioEffect:
        """(L_ntk − L_adam_star) / (L_ntk − L_frozen) over the seeds that all three finished."""
        return RatioEffect.of_gap(where, (self.losses(v, width) for v in GAP), self.seeds)

    def share_closed(self, width: int) -> GapClosed | None:
        """The same with Fieller's interval.

        None if one of the three never ran there, or lost a seed: what a run that diverged would
        have closed is not known.
        """
        effect = self.gap_effect("", width)
        if effect.lost or not effect.count:
            return None
        return effect.closed(self.statistics.confidence, self.statistics.gap_fraction)

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

    def not_interior(self, variant: str) -> dict[int, str]:
        """The widths at which tuning left the optimum unbracketed, and its note on each."""
        if variant == "constant":
            return {}
        chosen = {width: self.choice(variant, width) for width in self.widths}
        return {w: each["note"] for w, each in chosen.items() if each and not each["interior"]}


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
