# SPDX-License-Identifier: Apache-2.0
"""Do the ADAM variants meet the unfrozen model as the width grows? Losses, extrapolated.

Legend: S seeds, W widths. Every loss is in nats per token.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from infwidth.config.errors import UserError
from infwidth.config.variants import VARIANTS
from infwidth.experiments.schema import runs_table
from infwidth.experiments.tables import Experiment, MeasuredTables
from infwidth.experiments.width_limit.plan import MEAN_FIELD, NTK
from infwidth.experiments.width_limit.settings import REFERENCE
from infwidth.reading import require
from infwidth.stats.effects import Effect
from infwidth.stats.extrapolation import Extrapolation, extrapolate

TABLES = {"runs": runs_table("condition", "variant")}
PARAMETRIZATIONS = {MEAN_FIELD: "mean-field", NTK: "NTK parametrization"}
"""How the unfrozen model is parametrized, and in words; features that are fixed have no choice."""


SCALES = {MEAN_FIELD: "1/H", NTK: "1/√H"}
"""The factor before the sum over units, by which the parametrizations are told apart."""


def model_label(variant: str, parametrization: str) -> str:
    """A model's name: of the unfrozen one the parametrization is a part."""
    label = VARIANTS[variant].label
    return f"{label}, {SCALES[parametrization]}" if variant == REFERENCE else label


class Comparison(NamedTuple):
    """A variant less the unfrozen model, and how the latter is parametrized."""

    variant: str
    parametrization: str

    @property
    def effect(self) -> str:
        """Its name among the effects."""
        suffix = "_ntk" if self.parametrization == NTK else ""
        return f"limit_{self.variant}_minus_{REFERENCE}{suffix}"


@dataclass(frozen=True)
class WidthLimit(Experiment):
    """What the experiment measured."""

    @property
    def reported(self) -> pd.DataFrame:
        """The runs whose losses are extrapolated; their condition is the parametrization."""
        return self.rows("runs", role="report")

    @property
    def widths(self) -> list[int]:
        """Those that are extrapolated from, ascending."""
        return sorted({int(width) for width in self.reported["width"]})

    @property
    def models(self) -> list[tuple[str, str]]:
        """What was trained, as (variant, parametrization), in the table of variants' order."""
        present = set(zip(self.reported["variant"], self.reported["condition"], strict=True))
        return [(v, p) for v in VARIANTS for p in PARAMETRIZATIONS if (v, p) in present]

    @property
    def comparisons(self) -> list[Comparison]:
        """Every other variant with the unfrozen model in each parametrization."""
        references = [p for variant, p in self.models if variant == REFERENCE]
        others = [variant for variant, _ in self.models if variant != REFERENCE]
        return [Comparison(variant, p) for p in references for variant in others]

    def seeds(self, parametrization: str) -> list[int]:
        """The seeds that every model was to report, whether or not its run is there."""
        every = self.settings["width_limit"]["seeds"]
        ntk = every[: self.settings["width_limit"]["ntk_seeds"]]
        return sorted(ntk if parametrization == NTK else every)

    def difference(self, comparison: Comparison) -> Extrapolation:
        """The variant's test loss minus the unfrozen model's, paired by seed."""
        first = self._losses(comparison.variant, MEAN_FIELD)
        second = self._losses(REFERENCE, comparison.parametrization)
        paired = (first - second).reindex(self.seeds(comparison.parametrization))
        return extrapolate(self.widths, paired.to_numpy())

    def between(self, first: str, second: str) -> Extrapolation:
        """The test loss of one variant minus that of another, both 1/H, paired by seed."""
        pair = [self._losses(variant, MEAN_FIELD) for variant in (first, second)]
        return extrapolate(self.widths, (pair[0] - pair[1]).to_numpy())

    def loss(self, variant: str, parametrization: str) -> Extrapolation:
        """The test loss itself."""
        return extrapolate(self.widths, self._losses(variant, parametrization).to_numpy())

    def not_interior(self) -> dict[str, str]:
        """What tuning left at an edge of its grid, and tuning's note on it."""
        entries = {
            model_label(v, p): self.settings["selection"][f"{p}-{v}"] for v, p in self.models
        }
        return {name: entry["note"] for name, entry in entries.items() if not entry["interior"]}

    def _losses(self, variant: str, parametrization: str) -> pd.DataFrame:
        """Test loss: a row a seed, a column a width; NaN where a run did not finish."""
        runs = self.rows("runs", role="report", variant=variant, condition=parametrization)
        loss = runs["test_loss"].where(runs["status"] == "done")
        table = runs.assign(loss=loss).pivot_table(
            index="seed", columns="width", values="loss", aggfunc="first", dropna=False
        )
        return table.reindex(index=self.seeds(parametrization), columns=self.widths)


def load(folder: Path | str) -> WidthLimit:
    """Reads and checks what `infwidth gather width_limit` wrote.

    Raises:
        UserError: a file is missing or unreadable, or lacks a column or key.
    """
    tables = MeasuredTables.load(
        folder, TABLES, "width_limit", "model", "corpus", "selection", "statistics"
    )
    tables.require_known("runs", variant=VARIANTS, condition=PARAMETRIZATIONS)
    measured, path = WidthLimit(tables), Path(folder)
    if (REFERENCE, MEAN_FIELD) not in measured.models:
        raise UserError(
            f"{path / 'runs.parquet'}: no {MEAN_FIELD} row of '{REFERENCE}'; "
            "run `infwidth gather width_limit` anew"
        )
    names = tuple(f"{parametrization}-{v}" for v, parametrization in measured.models)
    require(path / "settings.json", "selection", measured.settings["selection"], names)
    for name in names:
        entry = measured.settings["selection"][name]
        require(path / "settings.json", f"the entry of '{name}'", entry, ("interior", "note"))
    return measured


def effects(measured: WidthLimit) -> dict[str, list[Effect]]:
    """Limits of paired differences.

    An effect's readings are all models of the extrapolation: what is concluded from it holds by
    each of them. With too few widths there is no error, hence no test.
    """
    found: dict[str, list[Effect]] = {
        "limit_adam_star_minus_unfrozen": [],
        "limit_adam_star_normalized_minus_unfrozen": [],
        "limit_adam_star_minus_unfrozen_ntk": [],
        "limit_adam_star_normalized_minus_unfrozen_ntk": [],
        "limit_adam_star_minus_frozen": [],
    }
    if {("adam_star", MEAN_FIELD), ("frozen", MEAN_FIELD)} <= set(measured.models):
        limit = measured.between("adam_star", "frozen")
        found["limit_adam_star_minus_frozen"] = [limit.effect("H → ∞")] if limit.fits else []
    for comparison in measured.comparisons:
        limit, label = measured.difference(comparison), PARAMETRIZATIONS[comparison.parametrization]
        found[comparison.effect] = [limit.effect(f"H → ∞, {label}")] if limit.fits else []
    return found
