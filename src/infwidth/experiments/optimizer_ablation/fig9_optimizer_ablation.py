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
from infwidth.experiments.optimizer_ablation.measured import REFERENCE, OptimizerAblation
from infwidth.experiments.panels import ROW, difference_point, difference_rows, stripes

_MAIN = ("ntk", "adam_star", "adam_star_normalized")
_OTHER = Look("#555555", "o", "-")
_TOP, _BOTTOM, _GAP, _RIGHT, _KEY = 0.4, 0.42, 0.16, 0.12, 0.08


@paper_style()
def draw(measured: OptimizerAblation) -> Figure:
    """Every rule in the setting of fig1, and the main ones elsewhere."""
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
    tall = max(len(rules), len(contexts) * len(_MAIN)) * ROW
    figure = new_figure(TEXT_WIDTH, foot + tall + _TOP + _BOTTOM)
    small_print(figure, _print(measured))
    left, right = (figure.add_axes((0.1, 0.1, 0.1, 0.1)) for _ in range(2))
    _rule_panel(left, measured, rules)
    _context_panel(right, measured, contexts)
    bottom = foot + _BOTTOM
    _place(figure, [left, right], bottom, tall)
    key(figure, bottom + tall + _KEY, _RIGHT, [(ALL_VARIANTS[n].label, look(n)) for n in _MAIN])
    return figure


def _rule_panel(axes: Axes, measured: OptimizerAblation, rules: Sequence[str]) -> None:
    for row, name in enumerate(rules):
        interval = measured.difference(BASE, name).interval(measured.confidence)
        difference_point(axes, interval, row, look(name) if name in VARIANTS else _OTHER)
    names = [_label(measured, BASE, name) for name in rules]
    difference_rows(axes, names, "every rule, in the setting of fig. 1")
    axes.set_xlabel("loss − frozen, nats per token")
    for tick, name in zip(axes.get_yticklabels(), rules, strict=True):
        tick.set_color(look(name).ink if name in VARIANTS else "#333333")


def _context_panel(axes: Axes, measured: OptimizerAblation, contexts: Sequence[str]) -> None:
    for block, context in enumerate(contexts):
        for place, name in enumerate(_MAIN):
            if name in measured.variants(context):
                interval = measured.difference(context, name).interval(measured.confidence)
                difference_point(axes, interval, block + 0.26 * (place - 1), look(name))
    stripes(axes, len(contexts))
    names = [context_of(name).label for name in contexts]
    difference_rows(axes, names, "the main rules, in other contexts")
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
    loose = any(
        "†" in _label(measured, context, name)
        for context in measured.contexts
        for name in measured.variants(context)
        if context == BASE or name in _MAIN
    )
    parts = [
        f"Paired by seed, {len(measured.seeds)} seeds, {measured.confidence:.0%} t intervals; "
        f"H = {measured.width:,}. "
        "Each rule is tuned by itself in each context; 0 is Adam on frozen features there.",
        "† The rate's optimum is not interior." if loose else "",
        "ADAM* is our reconstruction of the paper's rule; the other starred rules are ours.",
        measured.corpus_note,
    ]
    return " ".join(part for part in parts if part)
