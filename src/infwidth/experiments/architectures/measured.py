# SPDX-License-Identifier: Apache-2.0
"""The variants in an MLP, a CNN and an RNN: losses, differences and what ADAM* closes of the gap.

Legend: S seeds, I test images. Every loss is in nats per image.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from infwidth.config.variants import VARIANTS
from infwidth.experiments.schema import SEED, Table, runs_table
from infwidth.experiments.tables import SETTINGS, Experiment, MeasuredTables
from infwidth.reading import require
from infwidth.stats.effects import Effect, paired_effect
from infwidth.stats.gap_closed import GapClosed, gap_closed
from infwidth.stats.statistics import Interval, SampleMean, mean_interval

TABLES = {
    "runs": runs_table(
        "architecture",
        "variant",
        counted=(),
        shown=("status", "train_loss", "validation_loss", "test_accuracy"),
        loose=(),
    ),
    "images": Table(
        ("architecture", "variant", "width"), SEED, ("image",), outcomes=("loss", "correct")
    ),
    "selection": Table(
        ("architecture", "variant"),
        shown=("learning_rate", "kappa", "interior", "note", "extensions"),
    ),
}

LABELS = {"mlp": "MLP", "cnn": "CNN", "rnn": "RNN"}
"""By architecture."""

PAIRS = {
    "ntk_minus_frozen": ("ntk", "frozen"),
    "ntk_minus_adam_star": ("ntk", "adam_star"),
    "adam_star_minus_frozen": ("adam_star", "frozen"),
    "adam_star_normalized_minus_frozen": ("adam_star_normalized", "frozen"),
    "frozen_minus_unfrozen": ("frozen", "unfrozen"),
}
"""By the name of the effect: the loss of the first variant minus that of the second."""


@dataclass(frozen=True)
class Architectures(Experiment):
    """What the experiment measured."""

    @property
    def settings(self) -> dict[str, Any]:
        """Of the experiment."""
        return self.measured.settings["architectures"]

    @cached_property
    def architectures(self) -> list[str]:
        """Those that were trained, in the order of their names' table."""
        present = set(self._reported["architecture"])
        return [name for name in LABELS if name in present]

    @cached_property
    def variants(self) -> list[str]:
        """Those reported, in the order of the table of variants."""
        present = set(self._reported["variant"])
        return [name for name in VARIANTS if name in present]

    @cached_property
    def widths(self) -> list[int]:
        """H, ascending."""
        return sorted(int(width) for width in self._reported["width"].unique() if width)

    @cached_property
    def seeds(self) -> list[int]:
        """The seeds that every cell was to report, whether or not its run is there."""
        return sorted(self.settings["seeds"])

    def loss(
        self, architecture: str, variant: str, width: int, column: str = "test_loss"
    ) -> SampleMean:
        """Mean over the seeds that finished, with its t interval.

        Args:
            architecture: which.
            variant: which; `constant` is the same at every width.
            width: H.
            column: of the table of runs, such as `train_loss` or `test_accuracy`.
        """
        values = self._by_seed(architecture, variant, width, column)
        return mean_interval(list(values.values()), self.confidence)

    def diverged(self, architecture: str, variant: str, width: int) -> int:
        """The number of reported runs that diverged."""
        finished = self._by_seed(architecture, variant, width, "test_loss")
        return len(self._cell(architecture, variant, width)) - len(finished)

    def difference(self, architecture: str, first: str, second: str, width: int) -> Effect | None:
        """Test loss of one variant minus that of another, paired by seed.

        The interval over test images, which is beside it, is that of the mean over seeds; the same
        images are in both members of a pair.

        Returns:
            The effect; None if either variant did not run at this width.
        """
        cells = [self._cell(architecture, name, width) for name in (first, second)]
        if any(cell.empty for cell in cells):
            return None
        return paired_effect(
            f"{LABELS[architecture]}, H = {width:,}",
            self._by_seed(architecture, first, width, "test_loss"),
            self._by_seed(architecture, second, width, "test_loss"),
            self.seeds,
            self._over_images(architecture, first, second, width),
        )

    def share_closed(self, architecture: str, width: int) -> GapClosed | None:
        """(L_ntk − L_adam_star) / (L_ntk − L_frozen), paired by seed.

        None if one of the three did not run there, or lost a seed.
        """
        three = ("ntk", "adam_star", "frozen")
        losses = [self._by_seed(architecture, name, width, "test_loss") for name in three]
        if not all(by_seed.keys() >= set(self.seeds) for by_seed in losses):
            return None
        ntk, star, frozen = (np.array([by_seed[s] for s in self.seeds]) for by_seed in losses)
        fraction = float(self.measured.settings["statistics"]["gap_fraction"])
        return gap_closed(ntk - star, ntk - frozen, self.confidence, fraction)

    def choice(self, architecture: str, variant: str) -> dict[str, Any] | None:
        """What tuning chose for a variant (for `constant`: the trunk's rate its check prefers)."""
        table = self.measured.tables["selection"]
        rows = table[(table["architecture"] == architecture) & (table["variant"] == variant)]
        # A column of rates that nobody has holds None.
        return None if rows.empty else rows.fillna(math.nan).iloc[0].to_dict()

    @cached_property
    def _reported(self) -> pd.DataFrame:
        runs = self.measured.tables["runs"]
        return runs[runs["role"] == "report"]

    def _cell(self, architecture: str, variant: str, width: int) -> pd.DataFrame:
        runs = self._reported
        width = 0 if variant == "constant" else width
        chosen = (runs["architecture"] == architecture) & (runs["variant"] == variant)
        return runs[chosen & (runs["width"] == width)]

    def _by_seed(
        self, architecture: str, variant: str, width: int, column: str
    ) -> dict[int, float]:
        cell = self._cell(architecture, variant, width)
        done = cell[(cell["status"] == "done") & np.isfinite(cell[column])]
        return dict(zip(done["seed"].astype(int).tolist(), done[column].tolist(), strict=True))

    @cached_property
    def _image_rows(self) -> dict[tuple[str, str, int], pd.DataFrame]:
        by_cell = self.measured.tables["images"].groupby(["architecture", "variant", "width"])
        return {key: rows[["seed", "image", "loss"]] for key, rows in by_cell}

    def _over_images(self, architecture: str, first: str, second: str, width: int) -> Interval:
        """The t interval over test images of the difference, each the mean over common seeds."""
        names = (first, second)
        done = [set(self._by_seed(architecture, name, width, "test_loss")) for name in names]
        seeds = set(self.seeds).intersection(*done)
        if not seeds:
            return Interval(math.nan, math.nan, math.nan)
        rows = (self._image_rows[architecture, name, width] for name in names)
        first_I, second_I = (
            each[each["seed"].isin(seeds)]
            .astype({"loss": np.float64})
            .groupby("image")["loss"]
            .mean()
            for each in rows
        )
        return mean_interval(first_I - second_I, self.confidence)


def load(folder: Path | str) -> Architectures:
    """Reads and checks a folder of measurements.

    Raises:
        UserError: a file is missing or unreadable, or lacks a column or key.
    """
    measured = Architectures(MeasuredTables.load(folder, TABLES, "architectures", "statistics"))
    require(Path(folder) / SETTINGS, "architectures", measured.settings, ("seeds",))
    return measured


def effects(measured: Architectures) -> dict[str, list[Effect]]:
    """The differences of `PAIRS`, at every architecture and width where both variants ran."""
    found = {
        pair: [
            measured.difference(architecture, *variants, width)
            for architecture in measured.architectures
            for width in measured.widths
        ]
        for pair, variants in PAIRS.items()
    }
    return {pair: [each for each in each_of if each] for pair, each_of in found.items()}
