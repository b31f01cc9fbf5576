"""Figure 9: which part of the optimizer closes the gap to frozen features, and where."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from infwidth.analysis.effects import Effect
from infwidth.analysis.optimizer_ablation import REFERENCE, OptimizerAblation, label_of_context
from infwidth.config.contexts import BASE
from infwidth.config.variants import ABLATIONS, ALL_VARIANTS
from infwidth.plots.layout import new_figure, small_print, text_size
from infwidth.plots.style import LABEL, SMALL_PRINT, TEXT_WIDTH, Look, look, paper_style

_MAIN = ("ntk", "adam_star", "adam_star_normalized")
_OTHER = Look("#555555", "o", "-")
_ROW = 0.185
"""Inches a row."""
_TITLE = 14.0
"""Points between a panel and its title, with room for the key."""
_TOP, _BOTTOM, _GAP, _RIGHT = 0.4, 0.42, 0.16, 0.12


def draw(measured: OptimizerAblation) -> Figure:
    """Left: every rule in the setting of fig1. Right: the main ones in other contexts."""
    with paper_style():
        return _draw(measured)


def _draw(measured: OptimizerAblation) -> Figure:
    rules = _rules(measured)
    contexts = [name for name in measured.contexts if REFERENCE in measured.variants(name)]
    rows = max(len(rules), len(contexts) * len(_MAIN))
    figure = new_figure(TEXT_WIDTH, 1.0)
    foot = small_print(figure, _print(measured))
    height = _TOP + rows * _ROW + _BOTTOM + foot
    figure.set_size_inches(TEXT_WIDTH, height)
    for text in list(figure.texts):
        text.remove()
    foot = small_print(figure, _print(measured))
    left, right = figure.subplots(1, 2)
    _rule_panel(left, measured, rules)
    _context_panel(right, measured, contexts)
    _place(figure, left, right, foot, height)
    _key(figure, right, height)
    return figure


def _rules(measured: OptimizerAblation) -> list[str]:
    """The rules of the setting of fig1, the best last; the reference itself is the line at 0."""
    names = [name for name in measured.variants(BASE) if name != REFERENCE]
    return sorted(names, key=lambda name: -_estimate(measured.difference(BASE, name)))


def _estimate(effect: Effect) -> float:
    return effect.estimate if math.isfinite(effect.estimate) else math.inf


def _rule_panel(axes: Axes, measured: OptimizerAblation, rules: Sequence[str]) -> None:
    for row, name in enumerate(rules):
        style = _OTHER if name in ABLATIONS else look(name)
        _point(axes, measured, measured.difference(BASE, name), row, style)
    axes.set_yticks(range(len(rules)), [_label(measured, BASE, name) for name in rules])
    for tick, name in zip(axes.get_yticklabels(), rules, strict=True):
        tick.set_color("#333333" if name in ABLATIONS else look(name).ink)
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
    axes.set_yticks(range(len(contexts)), [label_of_context(name) for name in contexts])
    _finish(axes, len(contexts), "the main rules, in other contexts")


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
        markersize=4.5,
        linestyle="",
    )


def _finish(axes: Axes, rows: int, title: str) -> None:
    axes.axvline(0, color=look(REFERENCE).color, linewidth=0.9, zorder=1)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.grid(False)
    axes.grid(True, axis="x")
    axes.tick_params(axis="y", length=0, labelsize=LABEL)
    axes.set_title(title, loc="left", pad=_TITLE)
    axes.set_xlabel("loss − frozen, nats per token")


def _label(measured: OptimizerAblation, context: str, name: str) -> str:
    has_rate = ALL_VARIANTS[name].features != "none"
    loose = has_rate and not measured.selection(context, name)["interior"]
    return ALL_VARIANTS[name].label + (" †" if loose else "")


def _place(figure: Figure, left: Axes, right: Axes, foot: float, height: float) -> None:
    """Both panels side by side, each as wide as its labels leave it."""
    rooms = [_label_room(axes) for axes in (left, right)]
    panel = (TEXT_WIDTH - sum(rooms) - _GAP - _RIGHT) / 2
    bottom, tall = (foot + _BOTTOM) / height, (height - _TOP - _BOTTOM - foot) / height
    start = 0.0
    for axes, room in zip((left, right), rooms, strict=True):
        axes.set_position(((start + room) / TEXT_WIDTH, bottom, panel / TEXT_WIDTH, tall))
        start += room + panel + _GAP


def _key(figure: Figure, axes: Axes, height: float) -> None:
    """The names of the main rules with their markers, in one line over the panel."""
    widths = [text_size(figure, ALL_VARIANTS[n].label, SMALL_PRINT)[0] + 0.2 for n in _MAIN]
    x = TEXT_WIDTH - _RIGHT - sum(widths)
    for name, width in zip(_MAIN, widths, strict=True):
        y = height - _TOP + 0.08
        style = look(name)
        figure.add_artist(
            Line2D(
                [(x + 0.05) / TEXT_WIDTH],
                [y / height],
                marker=style.marker,
                color=style.color,
                markersize=4,
                linestyle="",
            )
        )
        figure.text(
            (x + 0.11) / TEXT_WIDTH,
            y / height,
            ALL_VARIANTS[name].label,
            color=style.ink,
            fontsize=SMALL_PRINT,
            va="center_baseline",
        )
        x += width


def _label_room(axes: Axes) -> float:
    renderer = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    widths = [label.get_window_extent(renderer).width for label in axes.get_yticklabels()]
    return float(np.max(widths, initial=0.0)) / axes.figure.dpi + 0.12


def _print(measured: OptimizerAblation) -> str:
    seeds = len(measured.seeds)
    confidence = f"{measured.confidence:.0%}"
    loose = any(
        "†" in _label(measured, context, name)
        for context in measured.contexts
        for name in measured.variants(context)
    )
    parts = [
        f"Paired by seed, {seeds} seeds, {confidence} t intervals; H = {measured.width:,}. "
        "Each rule is tuned by itself in each context. 0 is Adam on frozen features in the same "
        "context; losses of different contexts are not compared.",
        "† The rate's optimum is not interior." if loose else "",
        "ADAM* is our reconstruction of the paper's rule; the other starred rules are ours.",
    ]
    return " ".join(part for part in parts if part)
