# SPDX-License-Identifier: Apache-2.0
"""Table 6: rules for the readout, and contexts, each tuned alike."""

import math
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
from infwidth.experiments.optimizer_ablation.contexts import CONTEXTS
from infwidth.experiments.optimizer_ablation.measured import (
    DIGITS_LABELS,
    DIGITS_REFERENCE,
    KERNEL_LABELS,
    REFERENCE,
    OptimizerAblation,
    label_of_context,
)
from infwidth.stats.gap_closed import GapClosed
from infwidth.stats.selection import race_note
from infwidth.stats.statistics import mean_interval


def build(measured: OptimizerAblation) -> Table:
    """One row an arm and width."""
    rows = [
        _row(measured, context, variant, width)
        for context in measured.contexts
        for variant in measured.variants(context)
        for width in _widths(measured, context, variant)
    ]
    rows += [_digits_row(measured, *arm) for arm in measured.digits_arms()]
    raw = pd.DataFrame([row for row, _ in rows])
    shown = pd.DataFrame([cells for _, cells in rows])
    return Table("table6_ablation", _caption(measured), raw, shown)


def _widths(measured: OptimizerAblation, context: str, variant: str) -> list[int]:
    no_mlps = ALL_VARIANTS[variant].features == "none"
    return [0] if no_mlps else measured.widths(context)


def _row(
    measured: OptimizerAblation, context: str, variant: str, width: int
) -> tuple[dict[str, Any], dict[str, str]]:
    loss = measured.loss(context, variant, width)
    selection = measured.selection(context, variant, width)
    difference = closed = None
    if REFERENCE in measured.variants(context) and variant != REFERENCE:
        effect = measured.difference(context, variant, width=width or None)
        difference = effect.interval(measured.confidence)
        if "ntk" in measured.variants(context) and variant != "ntk" and width:
            closed = measured.gap_closed(context, variant, width)
    lost = measured.diverged(context, variant, width)
    raw = {
        "context": context,
        "variant": variant,
        "width": width,
        "test_loss_nats": loss.estimate,
        "test_loss_lower": loss.lower,
        "test_loss_upper": loss.upper,
        "seeds": loss.count,
        "diverged": lost,
        "minus_frozen_nats": difference.estimate if difference else None,
        "minus_frozen_lower": difference.lower if difference else None,
        "minus_frozen_upper": difference.upper if difference else None,
        "gap_closed": closed.estimate if closed else None,
        "gap_closed_lower": closed.lower if closed else None,
        "gap_closed_upper": closed.upper if closed else None,
        "learning_rate_tuned": selection["learning_rate"],
        "kappa": selection["kappa"],
        "interior": selection["interior"],
        "tuning": selection["note"],
    }
    shown = {
        "Context": label_of_context(context),
        "Rule": ALL_VARIANTS[variant].label + ("" if selection["interior"] else " †"),
        "H": count(width) if width else "any",
        "test loss": plus_minus(loss) + (f", {lost} diverged" if lost else ""),
        "minus frozen": plus_minus(difference, sign=True) if difference else MISSING,
        "gap closed": _share(closed),
        "η": rate(selection["learning_rate"]) if width else MISSING,
    }
    return raw, shown


def _digits_row(
    measured: OptimizerAblation, rule: str, kernel: str
) -> tuple[dict[str, Any], dict[str, str]]:
    runs = measured.digits
    runs = runs[(runs["rule"] == rule) & (runs["kernel"] == kernel)]
    width, learning_rate = float(runs["width"].iloc[0]), float(runs["learning_rate"].iloc[0])
    losses = measured.digits_losses(rule, kernel)
    loss = mean_interval(list(losses.values()), measured.confidence)
    difference = None
    if (rule, kernel) != DIGITS_REFERENCE and DIGITS_REFERENCE in measured.digits_arms():
        difference = measured.digits_difference(rule, kernel).interval(measured.confidence)
    raw = {
        "context": f"digits, {kernel}",
        "variant": rule,
        "width": width,
        "test_loss_nats": loss.estimate,
        "test_loss_lower": loss.lower,
        "test_loss_upper": loss.upper,
        "seeds": loss.count,
        "diverged": len(runs) - loss.count,
        "minus_frozen_nats": difference.estimate if difference else None,
        "minus_frozen_lower": difference.lower if difference else None,
        "minus_frozen_upper": difference.upper if difference else None,
        "learning_rate_tuned": learning_rate,
    }
    shown = {
        "Context": f"digits, {KERNEL_LABELS[kernel]}",
        "Rule": DIGITS_LABELS[rule],
        "H": count(width) if math.isfinite(width) else "∞",
        "test loss": plus_minus(loss),
        "minus frozen": plus_minus(difference, sign=True) if difference else MISSING,
        "gap closed": MISSING,
        "η": rate(learning_rate),
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


def _other_seeds(measured: OptimizerAblation) -> str:
    """Says where there are others, and how many."""
    some = [n for n in measured.contexts if n in CONTEXTS and CONTEXTS[n].confirmation]
    runs, digits = measured.runs, measured.digits
    seeds = {CONTEXTS[n].label: runs.loc[runs["context"] == n, "seed"].nunique() for n in some}
    parts = [f"{count} in '{label}'" for label, count in seeds.items()]
    if len(digits):
        parts.append(f"{digits['seed'].nunique()} on digits")
    return f" ({', '.join(parts)})" if parts else ""


def _each(measured: OptimizerAblation) -> str:
    """Says which contexts have a rate for each width."""
    each = [n for n in measured.contexts if n in CONTEXTS and CONTEXTS[n].tuned_at_widths]
    labels = ", ".join(f"'{CONTEXTS[name].label}'" for name in each)
    return f" (in {labels} at every width by itself)" if each else ""


def _caption(measured: OptimizerAblation) -> str:
    seeds = len(measured.seeds)
    confidence = f"{measured.confidence:.0%}"
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
            f"{_each(measured)}.",
            race_note(measured.settings["optimizer_ablation"]["tuning"]),
            f"± is the half width of the {confidence} t interval over {seeds} seeds"
            f"{_other_seeds(measured)}; differences are paired by seed; gap closed: (NTK − rule)"
            "/(NTK − frozen), Fieller's interval.",
            "Losses of different contexts are not comparable; differences within one are. η is in "
            "units in which each rule's first step has rms η.",
            "On digits losses are in nats per image, at exactly infinite width but for the rules "
            "that keep no kernel, and frozen is elementwise Adam on wide frozen ReLU features.",
            "† The rate's optimum is not interior (reasons in the CSV)." if loose else "",
            "ADAM*'s formula is our reconstruction (B), not the paper's text; the starred rules "
            "besides are ours.",
            measured.corpus_note,
        ]
    )
