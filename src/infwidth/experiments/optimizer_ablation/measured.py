# SPDX-License-Identifier: Apache-2.0
"""The ablation: many rules for the readout in the setting of fig1, a few in other contexts.

Every loss is in nats per token; differences are paired by seed. Between contexts only differences
are comparable, since data, length or model are others.
"""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.measured import Study
from infwidth.experiments.optimizer_ablation.settings import BASE, CONTEXTS, context_of
from infwidth.experiments.schema import runs_table
from infwidth.experiments.tables import MeasuredTables
from infwidth.stats.effects import Effect, RatioEffect

TABLES = {"runs": runs_table("condition", "variant")}
KEEP_THE_KERNEL = (
    *("momentum", "rms_star", "adam_star_global", "adam_star_uncorrected"),
    *("nadam_star", "adagrad_star", "muon_star"),
)
"""Rules besides SGD and ADAM* that keep the kernel Θ of plain features."""
REFERENCE = "frozen"

Cell = tuple[str, str, int]
"""Context, variant and width; 0 where there are no MLPs."""


class OptimizerAblation(Study):
    """What the experiment measured: a study whose conditions are the contexts that ran."""

    @cached_property
    def conditions(self) -> dict[str, dict[str, Any]]:
        """By name `label`, `arms` and `seeds` of each context, the setting of fig1 first."""
        ran = set(
            zip(*(self.runs[name] for name in ("condition", "variant", "width")), strict=True)
        )
        widths = sorted({int(width) for *_, width in ran})
        found = {}
        for name in (BASE, *CONTEXTS):
            row = context_of(name)
            arms = [(v, width) for v in ALL_VARIANTS for width in widths if (name, v, width) in ran]
            seeds = "confirmation_seeds" if row.confirmation else "seeds"
            if arms:
                found[name] = {
                    "label": row.label,
                    "arms": arms,
                    "seeds": sorted(self.settings["optimizer_ablation"][seeds]),
                }
        return found

    @property
    def width(self) -> int:
        """The width at which all arms run."""
        return int(self.settings["optimizer_ablation"]["width"])

    @cached_property
    def cells(self) -> list[Cell]:
        """All that ran, context by context."""
        return [(name, *arm) for name, each in self.conditions.items() for arm in each["arms"]]

    def widths(self, condition: str) -> list[int]:
        """The widths of a context, ascending; none if it did not run."""
        return sorted({width for name, _, width in self.cells if name == condition and width})

    def at_width(self, context: str, variant: str) -> Cell:
        """A variant's cell at the common width."""
        return context, variant, 0 if ALL_VARIANTS[variant].features == "none" else self.width

    def selection(self, cell: Cell) -> dict[str, Any]:
        """What tuning chose for a cell: at its width, if it was tuned there by itself."""
        found = self.settings["selection"]
        common = found["-".join(map(str, self.at_width(*cell[:2])))]
        return found.get("-".join(map(str, cell)), common)

    def above_frozen(self, cell: Cell) -> Effect:
        """A loss less that of frozen features with Adam in the same context."""
        context, _, width = cell
        return self.contrast("", {cell: 1, (context, REFERENCE, width or self.width): -1})


def load(folder: Path | str) -> OptimizerAblation:
    """Reads and checks the measurements."""
    keys = ("optimizer_ablation", "statistics", "selection", "corpus")
    measured = MeasuredTables.load(folder, TABLES, *keys)
    measured.require_known("runs", condition=(BASE, *CONTEXTS), variant=ALL_VARIANTS)
    return OptimizerAblation(measured)


def effects(measured: OptimizerAblation) -> dict[str, list[Effect]]:
    """Differences of test losses, nats per token, for the claims; below 0 where better.

    - `adam_star_minus_ntk`: by context.
    - `kernel_rules_minus_adam_star`, `kernel_rules_minus_frozen`: by rule, in the setting of fig1,
      the rules on plain features that keep their kernel.
    - `nadam_star_minus_frozen_nadam`: NAdam* against elementwise NAdam, in the setting of fig1.
    - `muon_star_minus_frozen`, `muon_star_minus_unfrozen_muon_star`: by width, on fresh seeds.
    - `shifted_minus_normalized`: ADAM* on features with shifted biases against normalized ones.
    - `normalized_closes`, `factored_closes`: the share of what separates ADAM* from Adam, both on
      frozen features, that normalized features (G) and a factored v (D) close; by width, and in the
      other vocabulary.
    - `standard_minus_mean_field`: SGD at one rate, by width, the tuned one left out.
    - `own_rates_sgd_over_width`, `fixed_trunk_sgd_over_width`: SGD tuned at each width, and with
      all but the readouts fixed as drawn; the widest minus each narrower one.
    """

    width = measured.width

    def less(pairs: Iterable[tuple[str, Cell, Cell]]) -> list[Effect]:
        """By place one loss less another, where both ran."""
        return [
            measured.contrast(where, {cell: 1, other: -1})
            for where, cell, other in pairs
            if {cell, other} <= set(measured.cells)
        ]

    def in_base(variant: str, other: str, where: str = "") -> tuple[str, Cell, Cell]:
        return where or context_of(BASE).label, (BASE, variant, width), (BASE, other, width)

    def by_width(context: str, variant: str, other: str) -> list[Effect]:
        widths = measured.widths(context)
        return less((f"H = {w:,}", (context, variant, w), (context, other, w)) for w in widths)

    def sgd_over_width(context: str) -> list[Effect]:
        *narrower, widest = measured.widths(context) or [width]
        return less(
            (f"{widest:,} against {w:,}", (context, "ntk", widest), (context, "ntk", w))
            for w in narrower
        )

    def closes(variant: str) -> list[Effect]:
        """(L_adam_star − L_variant) / (L_adam_star − L_frozen)."""
        other = "other_vocabulary"
        places = [("mean_field", w, f"H = {w:,}") for w in measured.widths("mean_field")]
        places += [(other, width, f"H = {width:,}, {context_of(other).label}")]
        found: list[Effect] = []
        for context, w, where in places:
            cells = [(context, name, w) for name in ("adam_star", variant, REFERENCE)]
            if set(cells) <= set(measured.cells):
                losses = [measured.losses(*cell) for cell in cells]
                seeds = measured.conditions[context]["seeds"]
                found.append(RatioEffect.of_gap(where, losses, seeds))
        return found

    at_one_width = [name for name in (BASE, *CONTEXTS) if not context_of(name).at_widths]
    return {
        "adam_star_minus_ntk": less(
            (context_of(name).label, (name, "adam_star", width), (name, "ntk", width))
            for name in at_one_width
        ),
        **{
            f"kernel_rules_minus_{other}": less(
                in_base(rule, other, ALL_VARIANTS[rule].label) for rule in KEEP_THE_KERNEL
            )
            for other in ("adam_star", REFERENCE)
        },
        **{
            f"muon_star_minus_{other}": by_width("confirmation", "muon_star", other)
            for other in (REFERENCE, "unfrozen_muon_star")
        },
        "nadam_star_minus_frozen_nadam": less([in_base("nadam_star", "frozen_nadam")]),
        "shifted_minus_normalized": less([in_base("adam_star_shifted", "adam_star_normalized")]),
        "normalized_closes": closes("adam_star_normalized"),
        "factored_closes": closes("adam_star_factored"),
        # The tuned width is the same in both contexts.
        "standard_minus_mean_field": less(
            (f"H = {w:,}", ("standard", "ntk", w), ("mean_field", "ntk", w))
            for w in measured.widths("standard")
            if w != width
        ),
        **{
            f"{context}_sgd_over_width": sgd_over_width(context)
            for context in ("own_rates", "fixed_trunk")
        },
    }
