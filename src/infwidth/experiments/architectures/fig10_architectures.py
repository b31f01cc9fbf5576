# SPDX-License-Identifier: Apache-2.0
"""Figure 10: the variants in an MLP, a CNN and an RNN: losses, and how far from frozen features."""

import math
from collections.abc import Sequence
from itertools import product

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from infwidth.config.variants import VARIANTS
from infwidth.drawing.layout import (
    EndLabel,
    end_labels,
    label_width,
    new_figure,
    set_margins,
    small_print,
    width_axis,
)
from infwidth.drawing.style import TEXT_WIDTH, look, paper_style
from infwidth.experiments.architectures.measured import LABELS, Architectures
from infwidth.stats.statistics import Interval

_BASE = "frozen"
"""The variant from which differences are taken."""

_CONTROL = "No wide layer"
_NONE = Interval(math.nan, math.nan, math.nan)
_LABEL_SIZE = 6.5
_STEP = 0.035
"""Distance of neighbouring variants' points, as a share of the width axis."""


@paper_style()
def draw(measured: Architectures) -> Figure:
    """Above: test loss over width. Below: the same less that of frozen features, by seed."""
    figure = new_figure(TEXT_WIDTH, 4.3)
    names = measured.architectures
    grid = figure.subplots(2, len(names), squeeze=False)
    labels: dict[Axes, list[EndLabel]] = {}
    for column, architecture in enumerate(names):
        above, below = grid[:, column]
        above.set_title(LABELS[architecture], loc="left", pad=4)
        labels[above] = _losses(above, measured, architecture)
        labels[below] = _differences(below, measured, architecture)
        beyond = 2 ** (0.14 * _octaves(measured))
        limits = (measured.widths[0] / beyond, measured.widths[-1] * beyond)
        for axes in (above, below):
            width_axis(axes, limits, measured.widths, "")
        above.tick_params(labelbottom=False)
        below.set_xlabel("width $H$")
    grid[0, 0].set_ylabel("final test loss\n(nats per image)")
    grid[1, 0].set_ylabel("loss − loss of frozen\nfeatures (nats per image)")
    last = [labels[axes] for axes in grid[:, -1]]
    foot = small_print(figure, _print(measured))
    right = max(label_width(figure, each, _LABEL_SIZE) for each in last)
    set_margins(figure, right, 0.22, foot + 0.4, column_gap=0.42, row_gap=0.16)
    for axes, each in zip(grid[:, -1], last, strict=True):
        end_labels(axes, each, _LABEL_SIZE)
    return figure


def _losses(axes: Axes, measured: Architectures, architecture: str) -> list[EndLabel]:
    found: list[EndLabel] = []
    shown: list[Interval] = []
    for variant, aside in _aside(measured, "constant").items():
        cells = [measured.loss(architecture, variant, width) for width in measured.widths]
        shown += cells
        found += _points(axes, aside, cells, variant)
        lost = [
            x
            for x, width in zip(aside, measured.widths, strict=True)
            if measured.diverged(architecture, variant, width)
        ]
        axes.plot(
            lost,
            [1.0] * len(lost),
            marker="x",
            linestyle="",
            color=look(variant).color,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
        )
    if "constant" in measured.variants:
        loss = measured.loss(architecture, "constant", 0)
        if loss.count:
            style = look("constant")
            axes.axhline(loss.estimate, color=style.color, linestyle=style.line)
            shown.append(loss)
            found.append(EndLabel(loss.estimate, _CONTROL, style.ink))
    _log_axis(axes, [cell for cell in shown if math.isfinite(cell.estimate)])
    return found


def _differences(axes: Axes, measured: Architectures, architecture: str) -> list[EndLabel]:
    axes.axhline(0, color=look(_BASE).color, linewidth=0.8)
    found = [EndLabel(0, VARIANTS[_BASE].label, look(_BASE).ink)]
    for variant, aside in _aside(measured, _BASE, "constant").items():
        effects = [measured.difference(architecture, variant, _BASE, w) for w in measured.widths]
        cells = [effect.interval(measured.confidence) if effect else _NONE for effect in effects]
        found += _points(axes, aside, cells, variant)
    return found


def _aside(measured: Architectures, *without: str) -> dict[str, list[float]]:
    """By variant, but for some, where its points stand, which is aside of the widths."""
    names = [name for name in measured.variants if name not in without]
    places = {name: place - (len(names) - 1) / 2 for place, name in enumerate(names)}
    shifts = {name: 2 ** (_STEP * place * _octaves(measured)) for name, place in places.items()}
    return {name: [width * shift for width in measured.widths] for name, shift in shifts.items()}


def _points(
    axes: Axes, aside: Sequence[float], cells: Sequence[Interval], variant: str
) -> list[EndLabel]:
    """A line through the estimates and a bar for each interval; its label, if there is anything."""
    style = look(variant)
    axes.plot(
        aside,
        [cell.estimate for cell in cells],
        color=style.color,
        marker=style.marker,
        linestyle=style.line,
        linewidth=0.9,
        markersize=3.4,
        markeredgecolor="white",
        markeredgewidth=0.3,
    )
    for x, cell in zip(aside, cells, strict=True):
        if math.isfinite(cell.half_width):
            axes.vlines(x, cell.lower, cell.upper, style.color, linewidth=0.7)
    finite = [cell.estimate for cell in cells if math.isfinite(cell.estimate)]
    return [EndLabel(finite[-1], VARIANTS[variant].label, style.ink)] if finite else []


def _octaves(measured: Architectures) -> float:
    return max(math.log2(measured.widths[-1] / measured.widths[0]), 1.0)


def _log_axis(axes: Axes, cells: Sequence[Interval]) -> None:
    if not cells:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no run finished", transform=axes.transAxes, ha="center")
        return
    axes.set_yscale("log")
    # A bar may reach 0, where this axis has no place; none is followed beyond a factor of 2.
    points = [cell.estimate for cell in cells]
    barred = [cell for cell in cells if math.isfinite(cell.half_width)]
    low = min([*points, *(max(cell.lower, cell.estimate / 2) for cell in barred)])
    high = max([*points, *(min(cell.upper, cell.estimate * 2) for cell in barred)])
    axes.set_ylim(low / 1.1, high * 1.1)
    axes.yaxis.set_major_locator(FixedLocator(_ticks(*axes.get_ylim())))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.3g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten; where fewer than three lie within the limits, even steps."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{digit}e{decade}") for decade in decades for digit in (1, 2, 5)]
    if sum(low <= tick <= high for tick in ticks) < 3:
        ticks = list(MaxNLocator(4).tick_values(low, high))
    return [tick for tick in ticks if low <= tick <= high]


def _print(measured: Architectures) -> str:
    settings, seeds = measured.settings, len(measured.seeds)
    lost, loose = 0, []
    for architecture, variant in product(measured.architectures, measured.variants):
        for width in [0] if variant == "constant" else measured.widths:
            lost += measured.diverged(architecture, variant, width)
        choice = measured.choice(architecture, variant)
        # Tuning left such a rate without a worse neighbour on both sides.
        if variant != "constant" and choice is not None and not choice["interior"]:
            name = f"{VARIANTS[variant].label} in the {LABELS[architecture]}"
            loose.append(f"{name} ({choice['note']})")
    runs = "run" if lost == 1 else "runs"
    parts = [
        "Below: paired by seed, from frozen features at the same width.",
        f"Bars: {measured.confidence:.0%} t intervals over {seeds} seeds; points stand aside for "
        "legibility."
        if seeds > 1
        else "One seed.",
        f"scikit-learn's digits: {settings['test_images']} test images, the same for all; each "
        f"seed draws its training images from the others; {settings['steps']} steps of "
        f"{settings['batch_size']}. Rates are tuned alike in each architecture at "
        f"H = {settings['reference_width']:,}.",
        f"× {lost} {runs} diverged; means are of the runs that finished." if lost else "",
        f"Not interior: {'; '.join(loose)}." if loose else "",
        "ADAM* is our reconstruction of the paper's rule.",
    ]
    return " ".join(part for part in parts if part)
