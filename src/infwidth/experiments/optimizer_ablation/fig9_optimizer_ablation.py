# SPDX-License-Identifier: Apache-2.0
"""Figure 9: which part of the optimizer closes the gap to frozen features, and where."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infwidth.config.variants import ALL_VARIANTS, VARIANTS
from infwidth.drawing.layout import key, new_figure, small_print
from infwidth.drawing.style import TEXT_WIDTH, Look, look, paper_style
from infwidth.experiments.optimizer_ablation.contexts import BASE, context_of
from infwidth.experiments.optimizer_ablation.measured import (
    DIGITS_LABELS,
    DIGITS_REFERENCE,
    KERNEL_LABELS,
    REFERENCE,
    OptimizerAblation,
)
from infwidth.stats.effects import Effect

_MAIN = ("ntk", "adam_star", "adam_star_normalized")
_OTHER = Look("#555555", "o", "-")
_KERNELS = {
    "plain": look("adam_star"),
    "normalized": look("adam_star_normalized"),
    "shifted": _OTHER,
}
_ROW = 0.13
"""Inches a row."""
_LABEL = 6.5
_TITLE = 14.0
"""Points between a panel and its title, with room for the key."""
_TOP, _BOTTOM, _GAP, _RIGHT, _KEY = 0.4, 0.42, 0.16, 0.12, 0.08


@paper_style()
def draw(measured: OptimizerAblation) -> Figure:
    """Above: every rule in the setting of fig1, and the main ones elsewhere. Below: digits."""
    above = {n: measured.difference(BASE, n).estimate for n in measured.variants(BASE)}
    # The best last; the reference itself is the line at 0.
    rules = sorted(
        (name for name in above if name != REFERENCE),
        key=lambda name: -above[name] if math.isfinite(above[name]) else -math.inf,
    )
    contexts = [
        name
        for name in measured.contexts
        if REFERENCE in measured.variants(name) and not context_of(name).at_widths
    ]
    foot = small_print(new_figure(TEXT_WIDTH, 1.0), _print(measured))
    tall = max(len(rules), len(contexts) * len(_MAIN)) * _ROW
    digits = len({rule for rule, _ in measured.digits_arms()}) * _ROW
    height = foot + tall + digits + 2 * (_TOP + _BOTTOM)
    figure = new_figure(TEXT_WIDTH, height)
    small_print(figure, _print(measured))
    left, right, below = (figure.add_axes((0.1, 0.1, 0.1, 0.1)) for _ in range(3))
    _rule_panel(left, measured, rules)
    _context_panel(right, measured, contexts)
    _digits_panel(below, measured)
    bottom = foot + _BOTTOM
    _place(figure, [below], bottom, digits)
    ran = {kernel for _, kernel in measured.digits_arms()}
    key(
        figure,
        bottom + digits + _KEY,
        _RIGHT,
        [(KERNEL_LABELS[k], style) for k, style in _KERNELS.items() if k in ran],
    )
    bottom += digits + _TOP + _BOTTOM
    _place(figure, [left, right], bottom, tall)
    key(figure, bottom + tall + _KEY, _RIGHT, [(ALL_VARIANTS[n].label, look(n)) for n in _MAIN])
    return figure


def _rule_panel(axes: Axes, measured: OptimizerAblation, rules: Sequence[str]) -> None:
    for row, name in enumerate(rules):
        style = look(name) if name in VARIANTS else _OTHER
        _point(axes, measured, measured.difference(BASE, name), row, style)
    axes.set_yticks(range(len(rules)), [_label(measured, BASE, name) for name in rules])
    for tick, name in zip(axes.get_yticklabels(), rules, strict=True):
        tick.set_color(look(name).ink if name in VARIANTS else "#333333")
    _finish(axes, len(rules), "every rule, in the setting of fig. 1")


def _context_panel(axes: Axes, measured: OptimizerAblation, contexts: Sequence[str]) -> None:
    for block, context in enumerate(contexts):
        for place, name in enumerate(_MAIN):
            if name in measured.variants(context):
                effect = measured.difference(context, name)
                row = block + 0.26 * (place - 1)
                _point(axes, measured, effect, row, look(name))
        if block % 2:
            axes.axhspan(block - 0.5, block + 0.5, color="#f4f4f4", linewidth=0, zorder=0)
    axes.set_yticks(range(len(contexts)), [context_of(name).label for name in contexts])
    _finish(axes, len(contexts), "the main rules, in other contexts")


def _digits_panel(axes: Axes, measured: OptimizerAblation) -> None:
    arms = measured.digits_arms()
    rules = list(dict.fromkeys(rule for rule, _ in arms))
    for rule, kernel in arms:
        if (rule, kernel) == DIGITS_REFERENCE:
            continue
        row = rules.index(rule) + 0.25 * (list(_KERNELS).index(kernel) - 1)
        _point(axes, measured, measured.digits_difference(rule, kernel), row, _KERNELS[kernel])
    for row in range(1, len(rules), 2):
        axes.axhspan(row - 0.5, row + 0.5, color="#f4f4f4", linewidth=0, zorder=0)
    axes.set_yticks(range(len(rules)), [DIGITS_LABELS[rule] for rule in rules])
    _finish(axes, len(rules), "at infinite width, digits")
    axes.set_xlabel("loss − frozen, nats per image")


def _point(
    axes: Axes, measured: OptimizerAblation, effect: Effect, row: float, style: Look
) -> None:
    interval = effect.interval(measured.confidence)
    if not math.isfinite(interval.estimate):
        return
    if math.isfinite(interval.lower):
        axes.hlines(row, interval.lower, interval.upper, style.color, linewidth=1.1)
    axes.plot(
        interval.estimate,
        row,
        marker=style.marker or "o",
        color=style.color,
        markeredgecolor="white",
        markeredgewidth=0.4,
        markersize=3.8,
        linestyle="",
    )


def _finish(axes: Axes, rows: int, title: str) -> None:
    axes.axvline(0, color=look(REFERENCE).color, linewidth=0.9, zorder=1)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.grid(False)
    axes.grid(True, axis="x")
    axes.tick_params(axis="y", length=0, labelsize=_LABEL)
    axes.set_title(title, loc="left", pad=_TITLE)
    axes.set_xlabel("loss − frozen, nats per token")


def _label(measured: OptimizerAblation, context: str, name: str) -> str:
    loose = not measured.selection(context, name)["interior"]
    return ALL_VARIANTS[name].label + (" †" if loose else "")


def _place(figure: Figure, row: Sequence[Axes], bottom: float, tall: float) -> None:
    """Panels side by side, each as wide as their labels leave it; inches."""
    height = figure.get_size_inches()[1]
    rooms = [_label_room(axes) for axes in row]
    panel = (TEXT_WIDTH - sum(rooms) - _GAP * (len(row) - 1) - _RIGHT) / len(row)
    start = 0.0
    for axes, room in zip(row, rooms, strict=True):
        left = (start + room) / TEXT_WIDTH
        axes.set_position((left, bottom / height, panel / TEXT_WIDTH, tall / height))
        start += room + panel + _GAP


def _label_room(axes: Axes) -> float:
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    widths = [label.get_window_extent(renderer).width for label in axes.get_yticklabels()]
    return float(np.max(widths, initial=0.0)) / axes.figure.dpi + 0.12


def _print(measured: OptimizerAblation) -> str:
    seeds, others = len(measured.seeds), measured.digits["seed"].nunique()
    on_digits = f" ({others} on digits)" if others else ""
    confidence = f"{measured.confidence:.0%}"
    loose = any(
        "†" in _label(measured, context, name)
        for context in measured.contexts
        for name in measured.variants(context)
        if context == BASE or name in _MAIN
    )
    parts = [
        f"Paired by seed, {seeds} seeds{on_digits}, {confidence} t intervals; H = "
        f"{measured.width:,}. "
        "Each rule is tuned by itself in each context; 0 is Adam on frozen features there.",
        "On digits, Adam and D have finite width; all else is infinitely wide.",
        "† The rate's optimum is not interior." if loose else "",
        "ADAM* is our reconstruction of the paper's rule; the other starred rules are ours.",
        measured.corpus_note,
    ]
    return " ".join(part for part in parts if part)
