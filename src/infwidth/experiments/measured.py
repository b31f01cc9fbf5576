# SPDX-License-Identifier: Apache-2.0
"""What a study measured: read, checked, and asked for losses, contrasts and shares.

Every loss is in nats per token; contrasts are paired by seed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.schema import STUDY
from infwidth.experiments.tables import Experiment, MeasuredTables
from infwidth.stats.effects import Effect, RatioEffect, weighted_effect

Weights = Mapping[str, float]
"""Of the losses of variants, in a contrast."""

CONTRASTS: dict[str, Weights] = {
    **{
        f"{variant}_minus_frozen": {variant: 1, "frozen": -1}
        for variant in (
            *("ntk", "adam_star", "adam_star_error", "adam_star_global"),
            *("adam_star_measured", "ntk_measured"),
        )
    },
    "ntk_measured_minus_adam_star_measured": {"ntk_measured": 1, "adam_star_measured": -1},
    "frozen_minus_unfrozen": {"frozen": 1, "unfrozen": -1},
    "optimizer_minus_features": {"ntk": 1, "frozen": -2, "unfrozen": 1},
}
"""By name. The last is (ntk − frozen) − (frozen − unfrozen): what the optimizer costs, less what
frozen features cost."""

GAP = ("ntk", "adam_star", "frozen")


@dataclass(frozen=True)
class Study(Experiment):
    """What the runs of a study measured."""

    @property
    def conditions(self) -> dict[str, dict[str, Any]]:
        """By name `label`, `factors`, `arms` and `seeds` of each condition, in their order."""
        found: dict[str, dict[str, Any]] = self.settings["conditions"]
        return found

    @property
    def runs(self) -> pd.DataFrame:
        """The runs whose losses are reported."""
        return self.rows("runs", role="report")

    @property
    def wide(self) -> int:
        """The least width of four features for each output: 4 E."""
        return 4 * int(self.settings["model"]["d_model"])

    def ran(self, condition: str, variants: Iterable[str], width: int) -> bool:
        """Whether all of the variants were reported in a condition at a width."""
        arms = {(variant, at) for variant, at in self.conditions[condition]["arms"]}
        return {(variant, width) for variant in variants} <= arms

    def widths(self, condition: str) -> list[int]:
        """The widths of a condition, ascending."""
        return sorted({width for _, width in self.conditions[condition]["arms"] if width})

    def losses(
        self, condition: str, variant: str, width: int, split: str = "test"
    ) -> dict[int, float]:
        """Loss by seed of the reported runs that finished; split is train, validation or test."""
        place = {"condition": condition, "variant": variant, "width": width}
        return self.by_seed("runs", f"{split}_loss", role="report", **place)

    def contrast(
        self, where: str, weights: Mapping[tuple[str, str, int], float], split: str = "test"
    ) -> Effect:
        """The mean over seeds of a weighted sum of losses, by condition, variant and width.

        Seeds that are in all conditions are paired.
        """
        terms = [(weight, self.losses(*cell, split)) for cell, weight in weights.items()]
        return weighted_effect(where, terms, self._seeds(weights))

    def gap_closed(self, where: str, condition: str, width: int) -> RatioEffect:
        """(ntk − adam_star) / (ntk − frozen) in a condition, a ratio of means over seeds."""
        cells = [(condition, variant, width) for variant in GAP]
        losses = (self.losses(*cell) for cell in cells)
        return RatioEffect.of_gap(where, losses, self._seeds(cells))

    def contrasts(self, places: Mapping[str, tuple[str, int]]) -> dict[str, list[Effect]]:
        """All of `CONTRASTS`, and the share of the gap that is closed, place by place.

        Places are a condition and a width, by name.
        """
        found: dict[str, list[Effect]] = {
            name: [
                self.contrast(where, {(condition, v, width): w for v, w in weights.items()})
                for where, (condition, width) in places.items()
                if self.ran(condition, weights, width)
            ]
            for name, weights in CONTRASTS.items()
        }
        found["gap_closed"] = [
            self.gap_closed(where, condition, width)
            for where, (condition, width) in places.items()
            if self.ran(condition, GAP, width)
        ]
        return found

    def _seeds(self, cells: Iterable[tuple[str, str, int]]) -> set[int]:
        """Those that all cells were to run."""
        return set.intersection(*(set(self.conditions[name]["seeds"]) for name, _, _ in cells))


def load(folder: Path | str) -> Study:
    """Reads and checks the measurements.

    Raises:
        UserError: a file is missing or unreadable, lacks a column or key, or holds an unknown name.
    """
    measured = MeasuredTables.load(folder, STUDY, "model", "statistics", "conditions", "selection")
    measured.require_known("runs", condition=measured.settings["conditions"], variant=ALL_VARIANTS)
    return Study(measured)
