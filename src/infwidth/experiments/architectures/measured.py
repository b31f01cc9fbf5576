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
from infwidth.stats.effects import Effect, GapClosed, paired_effect
from infwidth.stats.statistics import Interval, SampleMean, mean_interval
from infwidth.stored import require

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
        """Mean over the seeds that finished, with its t interval, of a column of the table of runs.

        `constant` is the same at every width.
        """
        values = self.losses(architecture, variant, width, column)
        return mean_interval(list(values.values()), self.confidence)

    def losses(
        self, architecture: str, variant: str, width: int, column: str = "test_loss"
    ) -> dict[int, float]:
        """The same of each reported run that finished, by seed."""
        return self.by_seed("runs", column, **_cell(architecture, variant, width))

    def diverged(self, architecture: str, variant: str, width: int) -> int:
        """The number of reported runs that diverged."""
        cell = self.rows("runs", **_cell(architecture, variant, width))
        return len(cell) - len(self.losses(architecture, variant, width))

    def difference(self, architecture: str, first: str, second: str, width: int) -> Effect | None:
        """Test loss of one variant minus that of another, paired by seed.

        The interval over test images, which is beside it, is that of the mean over seeds; the same
        images are in both members of a pair. None if either variant did not run at this width.
        """
        names = (first, second)
        if any(self.rows("runs", **_cell(architecture, name, width)).empty for name in names):
            return None
        loss, other = (self.losses(architecture, name, width) for name in names)
        images = Interval(math.nan, math.nan, math.nan)
        if shared := set(self.seeds).intersection(loss, other):
            loss_I, other_I = (
                rows[rows["seed"].isin(shared)]
                .astype({"loss": np.float64})
                .groupby("image")["loss"]
                .mean()
                for rows in (
                    self.rows("images", architecture=architecture, width=width, variant=name)
                    for name in names
                )
            )
            images = mean_interval(loss_I - other_I, self.confidence)
        where = f"{LABELS[architecture]}, H = {width:,}"
        return paired_effect(where, loss, other, self.seeds, images)

    def share_closed(self, architecture: str, width: int) -> GapClosed | None:
        """(L_ntk − L_adam_star) / (L_ntk − L_frozen), paired by seed.

        None if one of the three did not run there, or lost a seed.
        """
        three = ("ntk", "adam_star", "frozen")
        losses = [self.losses(architecture, name, width) for name in three]
        return self.share_of_gap(losses, self.seeds)

    def choice(self, architecture: str, variant: str) -> dict[str, Any] | None:
        """What tuning chose for a variant (for `constant`: the trunk's rate its check prefers)."""
        rows = self.rows("selection", architecture=architecture, variant=variant)
        # A column of rates that nobody has holds None.
        return None if rows.empty else rows.fillna(math.nan).iloc[0].to_dict()

    @cached_property
    def _reported(self) -> pd.DataFrame:
        return self.rows("runs", role="report")


def _cell(architecture: str, variant: str, width: int) -> dict[str, Any]:
    width = 0 if variant == "constant" else width
    return {"role": "report", "architecture": architecture, "variant": variant, "width": width}


def load(folder: Path | str) -> Architectures:
    """Reads and checks a folder of measurements."""
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
