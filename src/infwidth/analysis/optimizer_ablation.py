"""The ablation: many rules for the readout in the setting of fig1, a few in other contexts.

Every loss is in nats per token; differences are paired by seed. Between contexts only differences
are comparable, since data, length or model are others.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from infwidth.analysis.effects import Effect, paired_effect
from infwidth.analysis.gap_closed import GapClosed, gap_closed
from infwidth.analysis.measured import MeasuredTables
from infwidth.analysis.statistics import SampleMean, mean_interval
from infwidth.config.contexts import BASE, CONTEXTS
from infwidth.config.errors import UserError
from infwidth.config.variants import ALL_VARIANTS

COLUMNS = {
    "runs": (
        *("key", "context", "role", "variant", "width", "learning_rate", "kappa", "seed"),
        *("status", "test_loss", "device_seconds"),
    ),
}
REFERENCE = "frozen"


@dataclass(frozen=True)
class OptimizerAblation:
    """What the experiment measured.

    Attributes:
        tables: its tables, checked.
    """

    tables: MeasuredTables

    def provenance(self) -> dict[str, Any]:
        """What a figure is made from: files with digests, settings, commit."""
        return self.tables.provenance()

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that the experiment ran with."""
        return self.tables.settings

    @property
    def confidence(self) -> float:
        """Confidence of every interval."""
        return float(self.settings["statistics"]["confidence"])

    @property
    def width(self) -> int:
        """The width at which all arms run."""
        return int(self.settings["optimizer_ablation"]["width"])

    @property
    def runs(self) -> pd.DataFrame:
        """The runs whose losses are reported."""
        runs = self.tables.tables["runs"]
        return runs[runs["role"] == "report"]

    @property
    def seeds(self) -> list[int]:
        """The seeds of the reported runs."""
        return sorted({int(seed) for seed in self.runs["seed"]})

    @property
    def contexts(self) -> list[str]:
        """The contexts that ran, the setting of fig1 first."""
        present = set(self.runs["context"])
        return [name for name in (BASE, *CONTEXTS) if name in present]

    def variants(self, context: str) -> list[str]:
        """The variants that ran in a context, in the order of the tables of variants."""
        present = set(self.runs.loc[self.runs["context"] == context, "variant"])
        return [name for name in ALL_VARIANTS if name in present]

    def widths(self, context: str) -> list[int]:
        """The widths that ran in a context, ascending, without the 0 of models without MLPs."""
        widths = self.runs.loc[self.runs["context"] == context, "width"]
        return sorted({int(width) for width in widths if width > 0})

    def selection(self, context: str, variant: str) -> dict[str, Any]:
        """What tuning chose for an arm."""
        return self.settings["selection"][f"{context}-{variant}"]

    def losses(self, context: str, variant: str, width: int | None = None) -> dict[int, float]:
        """The test losses of the runs that finished, by seed; by default at the common width."""
        cell = self._cell(context, variant, width)
        done = cell[(cell["status"] == "done") & np.isfinite(cell["test_loss"])]
        pairs = zip(done["seed"], done["test_loss"], strict=True)
        return {int(seed): float(loss) for seed, loss in pairs}

    def loss(self, context: str, variant: str, width: int | None = None) -> SampleMean:
        """The mean test loss over the seeds that finished, with its interval."""
        values = list(self.losses(context, variant, width).values())
        return mean_interval(values, self.confidence)

    def diverged(self, context: str, variant: str, width: int | None = None) -> int:
        """How many reported runs of an arm diverged."""
        return int((self._cell(context, variant, width)["status"] != "done").sum())

    def difference(
        self,
        context: str,
        variant: str,
        reference: str = REFERENCE,
        width: int | None = None,
        reference_context: str | None = None,
        where: str = "",
    ) -> Effect:
        """The loss of a variant minus that of another, paired by seed."""
        other = reference_context or context
        ran = [
            set(self._cell(*place)["seed"])
            for place in ((context, variant, width), (other, reference, width))
        ]
        return paired_effect(
            where or f"{label_of_context(context)}, {ALL_VARIANTS[variant].label}",
            self.losses(context, variant, width),
            self.losses(other, reference, width),
            sorted(ran[0] & ran[1]),
        )

    def gap_closed(self, context: str, variant: str) -> GapClosed | None:
        """(L_ntk − L_variant) / (L_ntk − L_frozen) in a context; None where one is missing."""
        losses = [self.losses(context, name) for name in ("ntk", variant, REFERENCE)]
        seeds = sorted(set.intersection(*map(set, losses)))
        if not seeds or any(len(by_seed) < len(self.seeds) for by_seed in losses):
            return None
        ntk, own, frozen = (np.array([by_seed[s] for s in seeds]) for by_seed in losses)
        fraction = float(self.settings["statistics"]["gap_fraction"])
        return gap_closed(ntk - own, ntk - frozen, self.confidence, fraction)

    def _cell(self, context: str, variant: str, width: int | None) -> pd.DataFrame:
        runs = self.runs
        runs = runs[(runs["context"] == context) & (runs["variant"] == variant)]
        features = ALL_VARIANTS[variant].features
        return runs if features == "none" else runs[runs["width"] == (width or self.width)]


def label_of_context(context: str) -> str:
    """How a figure names a context."""
    return "as in fig. 1" if context == BASE else CONTEXTS[context].label


def load(folder: Path | str) -> OptimizerAblation:
    """Reads and checks the measurements.

    Raises:
        UserError: a file is missing or unreadable, lacks a column or key, or holds an unknown name.
    """
    keys = ("optimizer_ablation", "statistics", "selection")
    tables = MeasuredTables.load(folder, COLUMNS, *keys)
    runs, path = tables.tables["runs"], Path(folder) / "runs.parquet"
    for column, known in (("context", (BASE, *CONTEXTS)), ("variant", tuple(ALL_VARIANTS))):
        strange = sorted(set(runs[column]) - set(known))
        if strange:
            raise UserError(
                f"{path}: column '{column}' holds '{strange[0]}'; allowed are {', '.join(known)}"
            )
    return OptimizerAblation(tables)


def effects(measured: OptimizerAblation) -> dict[str, list[Effect]]:
    """Differences in nats a token, paired by seed, for the claims.

    - `<variant>_minus_frozen`: by context.
    - `<variant>_minus_ntk`: what a rule gains on SGD (below 0: it is better), by context.
    - `standard_minus_mean_field_<variant>`: by width, at one rate tuned at the ablation's width.
    """
    found: dict[str, list[Effect]] = {}
    for context in measured.contexts:
        if context in ("mean_field", "standard"):
            continue
        variants = measured.variants(context)
        for reference in (REFERENCE, "ntk"):
            for variant in variants:
                if reference in variants and variant != reference:
                    effect = measured.difference(
                        context, variant, reference, where=label_of_context(context)
                    )
                    found.setdefault(f"{variant}_minus_{reference}", []).append(effect)
    if {"mean_field", "standard"} <= set(measured.contexts):
        for variant in measured.variants("standard"):
            found[f"standard_minus_mean_field_{variant}"] = [
                measured.difference(
                    "standard", variant, variant, width, "mean_field", f"H = {width:,}"
                )
                for width in measured.widths("standard")
            ]
    return {name: places for name, places in found.items() if _known(places)}


def _known(places: list[Effect]) -> bool:
    return any(math.isfinite(effect.estimate) for effect in places)
