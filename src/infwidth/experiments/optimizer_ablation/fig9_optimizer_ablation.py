# SPDX-License-Identifier: Apache-2.0
"""Figure 9: which part of the optimizer closes the gap to frozen features, and where."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infwidth.config.variants import ALL_VARIANTS, VARIANTS
from infwidth.drawing.layout import key, new_figure, small_print
from infwidth.drawing.style import TEXT_WIDTH, Look, look, paper_style
from infwidth.experiments.optimizer_ablation.measured import REFERENCE, OptimizerAblation
from infwidth.experiments.optimizer_ablation.settings import BASE, context_of
from infwidth.experiments.panels import ROW, difference_point, difference_rows, stripes
from infwidth.stats.effects import Effect

_MAIN = ("ntk", "adam_star", "adam_star_normalized")
_OTHER = Look("#555555", "o", "-")
_TOP, _BOTTOM, _GAP, _RIGHT, _KEY = 0.4, 0.42, 0.16, 0.12, 0.08


@paper_style()
def draw(measured: OptimizerAblation) -> Figure:
    """Every rule in the setting of fig1, and the main ones elsewhere."""
    above = {cell[1]: measured.above_frozen(cell) for cell in measured.cells if cell[0] == BASE}

    def loss(name: str) -> float:
        estimate = above[name].estimate
        return estimate if math.isfinite(estimate) else math.inf

    # The best last; the reference itself is the line at 0.
    rules = sorted((name for name in above if name != REFERENCE), key=loss, reverse=True)
    contexts = [
        name
        for name, each in measured.conditions.items()
        if (REFERENCE, measured.width) in each["arms"] and not context_of(name).at_widths
    ]
    text = _print(measured)
    foot = small_print(new_figure(TEXT_WIDTH, 1.0), text)
    tall = max(len(rules), len(contexts) * len(_MAIN)) * ROW
    figure = new_figure(TEXT_WIDTH, foot + tall + _TOP + _BOTTOM)
    small_print(figure, text)
    left, right = (figure.add_axes((0.1, 0.1, 0.1, 0.1)) for _ in range(2))
    _rule_panel(left, measured, {name: above[name] for name in rules})
    _context_panel(right, measured, contexts)
    bottom = foot + _BOTTOM
    _place(figure, [left, right], bottom, tall)
    key(figure, bottom + tall + _KEY, _RIGHT, [(ALL_VARIANTS[n].label, look(n)) for n in _MAIN])
    return figure


def _rule_panel(axes: Axes, measured: OptimizerAblation, above: Mapping[str, Effect]) -> None:
    for row, (name, effect) in enumerate(above.items()):
        style = look(name) if name in VARIANTS else _OTHER
        difference_point(axes, effect.interval(measured.confidence), row, style)
    loose = _loose(measured)
    names = [ALL_VARIANTS[n].label + (" †" if (BASE, n) in loose else "") for n in above]
    difference_rows(axes, names, "every rule, in the setting of fig. 1")
    axes.set_xlabel("loss − frozen, nats per token")
    for tick, name in zip(axes.get_yticklabels(), above, strict=True):
        tick.set_color(look(name).ink if name in VARIANTS else "#333333")


def _context_panel(axes: Axes, measured: OptimizerAblation, contexts: Sequence[str]) -> None:
    for block, context in enumerate(contexts):
        for place, name in enumerate(_MAIN):
            if measured.ran(context, [name], measured.width):
                effect = measured.above_frozen((context, name, measured.width))
                row = block + 0.26 * (place - 1)
                difference_point(axes, effect.interval(measured.confidence), row, look(name))
    stripes(axes, len(contexts))
    names = [context_of(name).label for name in contexts]
    difference_rows(axes, names, "the main rules, in other contexts")
    axes.set_xlabel("loss − frozen, nats per token")


def _loose(measured: OptimizerAblation) -> set[tuple[str, str]]:
    """Context and variant of the rates shown that are not interior."""
    return {
        (context, variant)
        for context, variant, _ in measured.cells
        if context == BASE or variant in _MAIN
        if not measured.selection(measured.at_width(context, variant))["interior"]
    }


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
    parts = [
        f"Paired by seed, {len(measured.conditions[BASE]['seeds'])} seeds, "
        f"{measured.confidence:.0%} t intervals; H = {measured.width:,}. "
        "Each rule is tuned by itself in each context; 0 is Adam on frozen features there.",
        "† The rate's optimum is not interior." if _loose(measured) else "",
        "ADAM* is our reconstruction of the paper's rule; the other starred rules are ours.",
        f"Corpus: {measured.settings['corpus']}.",
    ]
    return " ".join(filter(None, parts))
