# SPDX-License-Identifier: Apache-2.0
"""Table 6: rules for the readout, and contexts, each tuned alike."""

from typing import Any

import pandas as pd

from infwidth.config.variants import ALL_VARIANTS
from infwidth.drawing.table import MISSING, Table, count, number, plus_minus, rate, sentences
from infwidth.experiments.optimizer_ablation.measured import REFERENCE, Cell, OptimizerAblation
from infwidth.experiments.optimizer_ablation.settings import BASE, context_of
from infwidth.stats.effects import GapClosed
from infwidth.stats.selection import race_note
from infwidth.stats.statistics import Interval, mean_interval


def build(measured: OptimizerAblation) -> Table:
    """One row an arm and width."""
    rows = [_row(measured, cell) for cell in measured.cells]
    raw, shown = (pd.DataFrame([row[k] for row in rows]) for k in (0, 1))
    return Table("table6_ablation", _caption(measured), raw, shown)


def _row(measured: OptimizerAblation, cell: Cell) -> tuple[dict[str, Any], dict[str, str]]:
    """As raw numbers and as it is shown."""
    context, variant, width = cell
    selection = measured.selection(cell)
    minus = closed = None
    if variant != REFERENCE and measured.ran(context, [REFERENCE], width or measured.width):
        minus = measured.above_frozen(cell).interval(measured.confidence)
        if variant != "ntk" and measured.ran(context, ["ntk"], width):
            names = ("ntk", variant, REFERENCE)
            losses = [measured.losses(context, name, width) for name in names]
            closed = measured.share_of_gap(losses, measured.conditions[context]["seeds"])
    loss = mean_interval(list(measured.losses(*cell).values()), measured.confidence)
    runs = measured.rows("runs", role="report", condition=context, variant=variant, width=width)
    lost = int((runs["status"] != "done").sum())

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
    rows = {name: context_of(name) for name in measured.conditions}
    each = ", ".join(f"'{row.label}'" for row in rows.values() if row.tuned_at_widths)
    others = [
        f"{measured.rows('runs', role='report', condition=name)['seed'].nunique()} in '{row.label}'"
        for name, row in rows.items()
        if row.confirmation
    ]
    loose = any(not measured.selection(cell)["interior"] for cell in measured.cells)
    return sentences(
        [
            "Final test loss in nats per token; every rule in every context is tuned by itself at "
            f"width {measured.width:,}, on one grid, by one rule, on tuning seeds"
            + (f" (in {each} at every width by itself)." if each else "."),
            race_note(measured.settings["optimizer_ablation"]["tuning"]),
            f"± is the half width of the {measured.confidence:.0%} t interval over "
            f"{len(measured.conditions[BASE]['seeds'])} seeds"
            + (f" ({', '.join(others)})" if others else "")
            + "; differences are paired by seed; gap closed: (NTK − rule)"
            "/(NTK − frozen), Fieller's interval.",
            "Losses of different contexts are not comparable; differences within one are. η is in "
            "units in which each rule's first step has rms η.",
            "† The rate's optimum is not interior (reasons in the CSV)." if loose else "",
            "ADAM*'s formula is our reconstruction (B), not the paper's text; the starred rules "
            "besides are ours.",
            f"Corpus: {measured.settings['corpus']}.",
        ]
    )
