# SPDX-License-Identifier: Apache-2.0
"""Do the ADAM variants meet the unfrozen model as the width grows? Losses, extrapolated.

Legend: S seeds, W widths. Every loss is in nats per token.
"""

from pathlib import Path

import pandas as pd

from infwidth.config.errors import UserError
from infwidth.config.variants import VARIANTS
from infwidth.experiments.schema import runs_table
from infwidth.experiments.tables import SETTINGS, Experiment, MeasuredTables
from infwidth.experiments.width_limit.plan import MEAN_FIELD, NTK
from infwidth.experiments.width_limit.settings import REFERENCE
from infwidth.stats.effects import Effect
from infwidth.stats.extrapolation import Extrapolation, extrapolate
from infwidth.stored import require

TABLES = {"runs": runs_table("condition", "variant")}
PARAMETRIZATIONS = {MEAN_FIELD: "mean-field", NTK: "NTK parametrization"}
"""How the unfrozen model is parametrized, and in words; features that are fixed have no choice."""

SCALES = {MEAN_FIELD: "1/H", NTK: "1/√H"}
"""The factor before the sum over units, by which the parametrizations are told apart."""


def model_label(variant: str, parametrization: str) -> str:
    """A model's name: of the unfrozen one the parametrization is a part."""
    label = VARIANTS[variant].label
    return f"{label}, {SCALES[parametrization]}" if variant == REFERENCE else label


class WidthLimit(Experiment):
    """What the experiment measured."""

    @property
    def widths(self) -> list[int]:
        """Those that are extrapolated from, ascending."""
        return sorted({int(width) for width in self.rows("runs", role="report")["width"]})

    @property
    def models(self) -> list[tuple[str, str]]:
        """What was trained, as (variant, parametrization), in the table of variants' order."""
        runs = self.rows("runs", role="report")
        present = set(zip(runs["variant"], runs["condition"], strict=True))
        return [(v, p) for v in VARIANTS for p in PARAMETRIZATIONS if (v, p) in present]

    @property
    def comparisons(self) -> list[tuple[str, str]]:
        """Every other variant, with each parametrization of the unfrozen model."""
        references = [p for variant, p in self.models if variant == REFERENCE]
        others = [variant for variant, _ in self.models if variant != REFERENCE]
        return [(variant, p) for p in references for variant in others]

    def difference(
        self, variant: str, parametrization: str = MEAN_FIELD, reference: str = REFERENCE
    ) -> Extrapolation:
        """A variant's test loss minus the reference's, over the seeds that the latter was to run.

        Args:
            variant: which, with 1/H.
            parametrization: of the reference.
            reference: the unfrozen model, or another variant.
        """
        other = self._losses(reference, parametrization)
        own = self._losses(variant, MEAN_FIELD).reindex(other.index)
        return extrapolate(self.widths, (own - other).to_numpy())

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
        """Test loss: a row a seed that was to run, a column a width; NaN where none finished."""
        place = {"role": "report", "variant": variant, "condition": parametrization}
        found = {w: self.by_seed("runs", "test_loss", **place, width=w) for w in self.widths}
        own = self.settings["width_limit"]
        seeds = own["seeds"][: own["ntk_seeds"] if parametrization == NTK else None]
        return pd.DataFrame(found, index=sorted(seeds), dtype=float)


def load(folder: Path | str) -> WidthLimit:
    """Reads and checks what `infwidth gather width_limit` wrote."""
    keys = ("width_limit", "model", "corpus", "selection", "statistics")
    tables = MeasuredTables.load(folder, TABLES, *keys)
    tables.require_known("runs", variant=VARIANTS, condition=PARAMETRIZATIONS)
    measured, path = WidthLimit(tables), Path(folder)
    if (REFERENCE, MEAN_FIELD) not in measured.models:
        raise UserError(
            f"{path / 'runs.parquet'}: no {MEAN_FIELD} row of '{REFERENCE}'; "
            "run `infwidth gather width_limit` anew"
        )
    selection = measured.settings["selection"]
    names = tuple(f"{parametrization}-{v}" for v, parametrization in measured.models)
    require(path / SETTINGS, "selection", selection, names)
    for name in names:
        require(path / SETTINGS, f"the entry of '{name}'", selection[name], ("interior", "note"))
    return measured


def effects(measured: WidthLimit) -> dict[str, list[Effect]]:
    """Limits of paired differences, with the ending `_ntk` in that parametrization.

    An effect's readings are all models of the extrapolation: what is concluded from it holds by
    each of them. With too few widths there is no error, hence no test.
    """
    found: dict[str, list[Effect]] = {
        f"limit_{variant}_minus_{REFERENCE}{ending}": []
        for variant in ("adam_star", "adam_star_normalized")
        for ending in ("", "_ntk")
    }
    for variant, parametrization in measured.comparisons:
        limit, where = (
            measured.difference(variant, parametrization),
            PARAMETRIZATIONS[parametrization],
        )
        name = f"limit_{variant}_minus_{REFERENCE}" + ("_ntk" if parametrization == NTK else "")
        found[name] = [limit.effect(f"H → ∞, {where}")] if limit.fits else []
    limit = measured.difference("adam_star", reference="frozen")
    found["limit_adam_star_minus_frozen"] = [limit.effect("H → ∞")] if limit.fits else []
    return found
