# SPDX-License-Identifier: Apache-2.0
"""The ablation: many rules for the readout in the setting of fig1, a few in other contexts.

Every loss is in nats per token; differences are paired by seed. Between contexts only differences
are comparable, since data, length or model are others.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.optimizer_ablation.contexts import BASE, CONTEXTS, context_of
from infwidth.experiments.schema import runs_table
from infwidth.experiments.tables import Experiment, MeasuredTables
from infwidth.stats.effects import Effect, paired_effect
from infwidth.stats.gap_closed import GapClosed
from infwidth.stats.statistics import SampleMean, mean_interval

TABLES = {"runs": runs_table("condition", "variant")}
KEEP_THE_KERNEL = (
    *("momentum", "rms_star", "adam_star_global", "adam_star_uncorrected"),
    *("nadam_star", "adagrad_star", "muon_star"),
)
"""Rules besides SGD and ADAM* that keep the kernel Θ of plain features."""
REFERENCE = "frozen"


@dataclass(frozen=True)
class OptimizerAblation(Experiment):
    """What the experiment measured."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that the experiment ran with."""
        return self.measured.settings

    @property
    def corpus_note(self) -> str:
        """Which text was trained on; empty for measurements that do not say."""
        corpus = self.settings.get("corpus")
        return f"Corpus: {corpus}." if corpus else ""

    @property
    def width(self) -> int:
        """The width at which all arms run."""
        return int(self.settings["optimizer_ablation"]["width"])

    @property
    def runs(self) -> pd.DataFrame:
        """The runs whose losses are reported."""
        return self.rows("runs", role="report")

    @property
    def seeds(self) -> list[int]:
        """The seeds of the reported runs, but for those of a confirmation."""
        return self.seeds_in(BASE)

    def seeds_in(self, context: str) -> list[int]:
        """The seeds that every arm of a context was to report, whether or not its run is there."""
        fresh = "confirmation_" if context_of(context).confirmation else ""
        return sorted(self.settings["optimizer_ablation"][f"{fresh}seeds"])

    @property
    def contexts(self) -> list[str]:
        """The contexts that ran, the setting of fig1 first."""
        present = set(self.runs["condition"])
        return [name for name in (BASE, *CONTEXTS) if name in present]

    def variants(self, context: str) -> list[str]:
        """The variants that ran in a context, in the order of the tables of variants."""
        present = set(self.rows("runs", role="report", condition=context)["variant"])
        return [name for name in ALL_VARIANTS if name in present]

    def widths(self, context: str) -> list[int]:
        """The widths that ran in a context, ascending, without the 0 of models without MLPs."""
        widths = self.rows("runs", role="report", condition=context)["width"]
        return sorted({int(width) for width in widths if width > 0})

    def selection(self, context: str, variant: str, width: int | None = None) -> dict[str, Any]:
        """What tuning chose for an arm, at a width if it was tuned there by itself."""
        found = self.settings["selection"]
        common = 0 if ALL_VARIANTS[variant].features == "none" else self.width
        at_common = found[f"{context}-{variant}-{common}"]
        return found.get(f"{context}-{variant}-{width}", at_common)

    def losses(self, context: str, variant: str, width: int | None = None) -> dict[int, float]:
        """The test losses of the runs that finished, by seed; by default at the common width."""
        return self.by_seed("runs", "test_loss", **self._cell(context, variant, width))

    def loss(self, context: str, variant: str, width: int | None = None) -> SampleMean:
        """The mean test loss over the seeds that finished, with its interval."""
        values = list(self.losses(context, variant, width).values())
        return mean_interval(values, self.confidence)

    def diverged(self, context: str, variant: str, width: int | None = None) -> int:
        """How many reported runs of an arm diverged."""
        return len(
            self.rows("runs", **self._cell(context, variant, width)).query("status != 'done'")
        )

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
        return paired_effect(
            where or f"{context_of(context).label}, {ALL_VARIANTS[variant].label}",
            self.losses(context, variant, width),
            self.losses(reference_context or context, reference, width),
            self.seeds_in(context),
        )

    def gap_closed(self, context: str, variant: str, width: int | None = None) -> GapClosed | None:
        """(L_ntk − L_variant) / (L_ntk − L_frozen) in a context; None where one is missing."""
        losses = [self.losses(context, name, width) for name in ("ntk", variant, REFERENCE)]
        return self.share_of_gap(losses, self.seeds_in(context))

    def _cell(self, context: str, variant: str, width: int | None) -> dict[str, Any]:
        cell = {"role": "report", "condition": context, "variant": variant}
        # A model without MLPs has no width.
        none = ALL_VARIANTS[variant].features == "none"
        return cell if none else cell | {"width": width or self.width}


def load(folder: Path | str) -> OptimizerAblation:
    """Reads and checks the measurements.

    Raises:
        UserError: a file is missing or unreadable, lacks a column or key, or holds an unknown name.
    """
    keys = ("optimizer_ablation", "statistics", "selection")
    measured = MeasuredTables.load(folder, TABLES, *keys)
    measured.require_known("runs", condition=(BASE, *CONTEXTS), variant=ALL_VARIANTS)
    return OptimizerAblation(measured)
