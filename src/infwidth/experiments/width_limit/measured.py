# SPDX-License-Identifier: Apache-2.0
"""Do the ADAM variants meet the unfrozen model as the width grows? Losses, extrapolated.

Legend: S seeds, W widths. Every loss is in nats per token.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from infwidth.config.errors import UserError
from infwidth.config.variants import VARIANTS
from infwidth.experiments.schema import runs_table
from infwidth.experiments.tables import Experiment, MeasuredTables
from infwidth.experiments.width_limit.settings import REFERENCE
from infwidth.reading import require
from infwidth.stats.effects import Effect
from infwidth.stats.extrapolation import Extrapolation, extrapolate

TABLES = {"runs": runs_table("parametrization", "variant"), "known": runs_table("variant")}
MEAN_FIELD, NTK = "mean-field", "ntk"
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
    def widths(self) -> list[int]:
        """Those that are extrapolated from, ascending."""
        return sorted({int(width) for width in self.measured.tables["runs"]["width"]})

    @property
    def enough(self) -> bool:
        """Whether these are as many widths, over such a span, as the protocol asks for."""
        own = self.settings["width_limit"]
        span = self.widths[-1] / self.widths[0]
        return len(self.widths) >= own["fewest_widths"] and span >= own["least_span"]

    @property
    def models(self) -> list[tuple[str, str]]:
        """What was trained, as (variant, parametrization), in the table of variants' order."""
        runs = self.measured.tables["runs"]
        present = set(zip(runs["variant"], runs["parametrization"], strict=True))
        return [(v, p) for v in VARIANTS for p in PARAMETRIZATIONS if (v, p) in present]

    @property
    def comparisons(self) -> list[Comparison]:
        """Every other variant with the unfrozen model in each parametrization."""
        references = [p for variant, p in self.models if variant == REFERENCE]
        others = [variant for variant, _ in self.models if variant != REFERENCE]
        return [Comparison(variant, p) for p in references for variant in others]

    @property
    def known_variants(self) -> list[str]:
        """The variants whose limit is known."""
        known = self.measured.tables["known"]
        there = set(known.loc[known["width"] == math.inf, "variant"])
        return [name for name in VARIANTS if name in there]

    def seeds(self, parametrization: str) -> list[int]:
        """The seeds that every model was to report, whether or not its run is there."""
        every = self.settings["lm_width"]["seeds"]
        ntk = every[: self.settings["width_limit"]["ntk_seeds"]]
        return sorted(ntk if parametrization == NTK else every)

    def difference(self, comparison: Comparison) -> Extrapolation:
        """The variant's test loss minus the unfrozen model's, paired by seed."""
        first = self._losses(comparison.variant, MEAN_FIELD)
        second = self._losses(REFERENCE, comparison.parametrization)
        paired = (first - second).reindex(self.seeds(comparison.parametrization))
        return self._extrapolate(self.widths, paired.to_numpy())

    def between(self, first: str, second: str) -> Extrapolation:
        """The test loss of one variant minus that of another, both 1/H, paired by seed."""
        pair = [self._losses(variant, MEAN_FIELD) for variant in (first, second)]
        return self._extrapolate(self.widths, (pair[0] - pair[1]).to_numpy())

    def loss(self, variant: str, parametrization: str) -> Extrapolation:
        """The test loss itself."""
        return self._extrapolate(self.widths, self._losses(variant, parametrization).to_numpy())

    def check(self, variant: str) -> Extrapolation:
        """The test loss minus that of the exact infinite model, paired by seed: its limit is 0.

        From the same widths as the rest, as far as they are there.
        """
        known = self.measured.tables["known"]
        loss = _by_width(known[known["variant"] == variant])
        widths = [width for width in self.widths if width in loss.columns]
        error = loss[widths].sub(loss[math.inf], axis=0)
        error = error.reindex(sorted(self.settings["infinite_lm"]["seeds"]))
        return self._extrapolate(widths, error.to_numpy())

    def not_interior(self) -> dict[str, str]:
        """What tuning left at an edge of its grid, and tuning's note on it."""
        entries = {VARIANTS[name].label: e for name, e in self.settings["selection"].items()}
        entries[model_label(REFERENCE, NTK)] = self.settings["selection_ntk"]
        return {name: entry["note"] for name, entry in entries.items() if not entry["interior"]}

    def _losses(self, variant: str, parametrization: str) -> pd.DataFrame:
        runs = self.measured.tables["runs"]
        mine = (runs["variant"] == variant) & (runs["parametrization"] == parametrization)
        seeds = self.seeds(parametrization)
        return _by_width(runs[mine]).reindex(index=seeds, columns=self.widths)

    def _extrapolate(self, widths: list[int], values_SxW: NDArray[np.float64]) -> Extrapolation:
        return extrapolate(widths, values_SxW, self.settings["width_limit"]["exponents"])


def load(folder: Path | str) -> WidthLimit:
    """Reads and checks what `infwidth gather width_limit` wrote.

    Raises:
        UserError: a file is missing or unreadable, or lacks a column or key.
    """
    keys = ("width_limit", "lm_width", "infinite_lm", "model", "corpus", "selection")
    tables = MeasuredTables.load(folder, TABLES, *keys, "selection_ntk", "statistics")
    for name in TABLES:
        tables.require_known(name, variant=VARIANTS)
    measured, path = WidthLimit(tables), Path(folder)
    if (REFERENCE, MEAN_FIELD) not in measured.models:
        raise UserError(
            f"{path / 'runs.parquet'}: no {MEAN_FIELD} row of '{REFERENCE}'; "
            "run `infwidth gather width_limit` anew"
        )
    entries = {**measured.settings["selection"], "ntk": measured.settings["selection_ntk"]}
    for name, entry in entries.items():
        require(path / "settings.json", f"the entry of '{name}'", entry, ("interior", "note"))
    return measured


def effects(measured: WidthLimit) -> dict[str, list[Effect]]:
    """Limits of paired differences, and the error of the method where the limit is known.

    An effect's readings are all models of the extrapolation: what is concluded from it holds by
    each of them. With too few widths there is no error, hence no test.
    """
    found: dict[str, list[Effect]] = {
        "limit_adam_star_minus_unfrozen": [],
        "limit_adam_star_normalized_minus_unfrozen": [],
        "limit_adam_star_minus_unfrozen_ntk": [],
        "limit_adam_star_normalized_minus_unfrozen_ntk": [],
        "extrapolator_error": [],
    }
    found["limit_adam_star_minus_frozen"] = []
    if {("adam_star", MEAN_FIELD), ("frozen", MEAN_FIELD)} <= set(measured.models):
        limit = measured.between("adam_star", "frozen")
        found["limit_adam_star_minus_frozen"] = _effects(measured, limit, "H → ∞")
    found |= {
        comparison.effect: _effects(
            measured,
            measured.difference(comparison),
            f"H → ∞, {PARAMETRIZATIONS[comparison.parametrization]}",
        )
        for comparison in measured.comparisons
    }
    for variant in measured.known_variants:
        suffix = "" if variant == "adam_star" else f"_{variant}"
        found[f"extrapolator_error{suffix}"] = _effects(measured, measured.check(variant), "H → ∞")
    return found


def _effects(measured: WidthLimit, limit: Extrapolation, where: str) -> list[Effect]:
    if not limit.fits:
        return []
    effect = limit.effect(where)
    return [effect if measured.enough else replace(effect, error=math.nan, readings=())]


def _by_width(runs: pd.DataFrame) -> pd.DataFrame:
    """Test loss: a row a seed, a column a width; NaN where a run did not finish."""
    loss = runs["test_loss"].where(runs["status"] == "done")
    table = runs.assign(loss=loss).pivot_table(
        index="seed", columns="width", values="loss", aggfunc="first", dropna=False
    )
    return table.sort_index()
