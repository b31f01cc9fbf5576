# SPDX-License-Identifier: Apache-2.0
"""Table 6: rules for the readout, and contexts, each tuned alike."""

from typing import Any

import pandas as pd

from infwidth.config.variants import ALL_VARIANTS
from infwidth.drawing.table import (
    MISSING,
    Table,
    count,
    number,
    plus_minus,
    rate,
    sentences,
)
from infwidth.experiments.optimizer_ablation.contexts import context_of
from infwidth.experiments.optimizer_ablation.measured import REFERENCE, OptimizerAblation
from infwidth.stats.gap_closed import GapClosed
from infwidth.stats.selection import race_note
from infwidth.stats.statistics import Interval


def build(measured: OptimizerAblation) -> Table:
    """One row an arm and width."""
    rows = [
        _row(measured, context, variant, width)
        for context in measured.contexts
        for variant in measured.variants(context)
        for width in _widths(measured, context, variant)
    ]
    raw = pd.DataFrame([row for row, _ in rows])
    shown = pd.DataFrame([cells for _, cells in rows])
    return Table("table6_ablation", _caption(measured), raw, shown)


def _widths(measured: OptimizerAblation, context: str, variant: str) -> list[int]:
    no_mlps = ALL_VARIANTS[variant].features == "none"
    return [0] if no_mlps else measured.widths(context)


def _row(
    measured: OptimizerAblation, context: str, variant: str, width: int
) -> tuple[dict[str, Any], dict[str, str]]:
    """As raw numbers and as it is shown."""
    selection = measured.selection(context, variant, width)
    difference = closed = None
    if REFERENCE in measured.variants(context) and variant != REFERENCE:
        difference = measured.difference(context, variant, width=width or None)
        if "ntk" in measured.variants(context) and variant != "ntk" and width:
            closed = measured.gap_closed(context, variant, width)
    loss = measured.loss(context, variant, width)
    lost = measured.diverged(context, variant, width)
    minus = difference.interval(measured.confidence) if difference else None

    def ends(name: str, unit: str, interval: Interval | None) -> dict[str, float | None]:
        names = {"estimate": name + unit, "lower": f"{name}_lower", "upper": f"{name}_upper"}
        return {column: getattr(interval, end, None) for end, column in names.items()}

    raw = {
        "context": context,
        "variant": variant,
        "width": width,
        **ends("test_loss", "_nats", loss),
        "seeds": loss.count,
        "diverged": lost,
        **ends("minus_frozen", "_nats", minus),
        **ends("gap_closed", "", closed),
        "learning_rate_tuned": selection["learning_rate"],
        "kappa": selection["kappa"],
        "interior": selection["interior"],
        "tuning": selection["note"],
    }
    shown = {
        "Context": context_of(context).label,
        "Rule": ALL_VARIANTS[variant].label + ("" if selection["interior"] else " †"),
        "H": count(width) if width else "any",
        "test loss": plus_minus(loss) + (f", {lost} diverged" if lost else ""),
        "minus frozen": plus_minus(minus, sign=True) if minus else MISSING,
        "gap closed": _share(closed),
        "η": rate(selection["learning_rate"]) if width else MISSING,
    }
    return raw, shown


def _share(closed: GapClosed | None) -> str:
    if closed is None:
        return MISSING
    if closed.no_gap:
        return "no gap"
    if not closed.defined:
        return "undefined"
    ends = f"{number(100 * closed.lower, 0)} to {number(100 * closed.upper, 0)}"
    return f"{number(100 * closed.estimate, 0)}% ({ends})"


def _caption(measured: OptimizerAblation) -> str:
    seeds = len(measured.seeds)
    confidence = f"{measured.confidence:.0%}"
    rows = {name: context_of(name) for name in measured.contexts}
    each = ", ".join(f"'{row.label}'" for row in rows.values() if row.tuned_at_widths)
    others = [
        f"{measured.rows('runs', role='report', condition=name)['seed'].nunique()} in '{row.label}'"
        for name, row in rows.items()
        if row.confirmation
    ]
    loose = any(
        not measured.selection(context, variant, width)["interior"]
        for context in measured.contexts
        for variant in measured.variants(context)
        for width in _widths(measured, context, variant)
    )
    return sentences(
        [
            "Final test loss in nats per token; every rule in every context is tuned by itself at "
            f"width {measured.width:,}, on one grid, by one rule, on tuning seeds"
            + (f" (in {each} at every width by itself)." if each else "."),
            race_note(measured.settings["optimizer_ablation"]["tuning"]),
            f"± is the half width of the {confidence} t interval over {seeds} seeds"
            + (f" ({', '.join(others)})" if others else "")
            + "; differences are paired by seed; gap closed: (NTK − rule)"
            "/(NTK − frozen), Fieller's interval.",
            "Losses of different contexts are not comparable; differences within one are. η is in "
            "units in which each rule's first step has rms η.",
            "† The rate's optimum is not interior (reasons in the CSV)." if loose else "",
            "ADAM*'s formula is our reconstruction (B), not the paper's text; the starred rules "
            "besides are ours.",
            measured.corpus_note,
        ]
    )
