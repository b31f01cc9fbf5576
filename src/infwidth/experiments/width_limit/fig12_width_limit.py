# SPDX-License-Identifier: Apache-2.0
"""Figure 12: do the ADAM variants meet the unfrozen model as the width grows?"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

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
from infwidth.drawing.style import TEXT_WIDTH, Look, look, paper_style
from infwidth.experiments.width_limit.measured import SCALES, WidthLimit
from infwidth.experiments.width_limit.plan import MEAN_FIELD, NTK
from infwidth.experiments.width_limit.settings import REFERENCE
from infwidth.stats.extrapolation import EXPONENTS, FEWEST_WIDTHS, LEAST_SPAN, Extrapolation, enough
from infwidth.stats.statistics import Interval, mean_interval

_SHORT = {"adam_star": "ADAM*", "adam_star_normalized": "normalized"}
"""Labels that are shorter than those of the table of variants."""

_IN_MATH = {MEAN_FIELD: "$1/H$", NTK: "$1/\\sqrt{H}$"}
_GREY = "#777777"
_OCTAVES_TO_INFINITY = 1.6
"""How far right of the largest width infinity stands."""

_SHIFT = 0.18
"""Octaves between the points of neighbouring series."""

_MOST_TICKS = 5


class Series(NamedTuple):
    """What is extrapolated, its name, and how it is drawn; open markers mean 1/√H."""

    limit: Extrapolation
    label: str
    style: Look
    is_open: bool = False


@paper_style()
def draw(measured: WidthLimit) -> Figure:
    """Paired differences by parametrization; below, losses."""
    panels = {
        f"loss above that of unfrozen, {_IN_MATH[each]}": [
            Series(measured.difference(v, p), _label(v), look(v), p == NTK)
            for v, p in measured.comparisons
            if p == each
        ]
        for each in dict.fromkeys(p for _, p in measured.comparisons)
    }
    differences = len(panels)
    panels["test loss"] = [
        Series(measured.loss(v, p), _label(v, p), look(v), p == NTK) for v, p in measured.models
    ]
    rows = -(-len(panels) // 2)
    figure = new_figure(TEXT_WIDTH, 1.4 + 1.65 * rows)
    grid = list(figure.subplots(rows, 2, squeeze=False).flat)
    for axes in grid[len(panels) :]:
        axes.remove()
    for axes in grid[:differences]:
        axes.axhline(0, color=_GREY, linewidth=0.8, zorder=1)
    labels = [
        _panel(axes, title, panels[title], measured)
        for axes, title in zip(grid, panels, strict=False)
    ]
    _same_limits(grid[:differences])
    foot = small_print(figure, _print(measured))
    inner, outer = (
        label_width(figure, [label for some in labels[side::2] for label in some])
        for side in (0, 1)
    )
    figure.align_ylabels(figure.axes[::2])
    set_margins(figure, outer, 0.24, foot + 0.42, column_gap=inner + 0.55, row_gap=0.62)
    for axes, wanted in zip(grid, labels, strict=False):
        end_labels(axes, wanted)
    return figure


def _label(variant: str, parametrization: str = MEAN_FIELD) -> str:
    label = _SHORT.get(variant, VARIANTS[variant].label)
    return f"{label}, {_IN_MATH[parametrization]}" if variant == REFERENCE else label


def _panel(axes: Axes, title: str, panel: Sequence[Series], measured: WidthLimit) -> list[EndLabel]:
    axes.set_title(title, loc="left", pad=3)
    axes.set_ylabel("nats per token")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    infinity = measured.widths[-1] * 2**_OCTAVES_TO_INFINITY
    labels = []
    for place, series in enumerate(panel):
        factor = 2 ** (_SHIFT * (place - (len(panel) - 1) / 2))
        labels += _series(axes, series, factor, infinity, measured.confidence)
    _width_axis(axes, measured.widths, infinity)
    return labels


def _series(
    axes: Axes, series: Series, factor: float, infinity: float, confidence: float
) -> list[EndLabel]:
    """Means with intervals, the fits that the data do not reject, the limit and its intervals."""
    limit, _, style, is_open = series
    if not len(limit.values_SxW):
        return []
    for fit in limit.fitting(confidence):
        curve_H = np.geomspace(limit.widths[fit.model.skipped], limit.widths[-1], 50)
        x = np.append(curve_H, infinity)
        y = fit.mean_at(np.append(curve_H, math.inf))
        axes.plot(x[:-1], y[:-1], color=style.color, alpha=0.35, linewidth=0.5)
        axes.plot(x[-2:], y[-2:], color=style.color, alpha=0.35, linewidth=0.5, linestyle=":")
    x_W = np.array(limit.widths) * factor
    means = [mean_interval(values_S, confidence) for values_S in limit.values_SxW.T]
    _bars(axes, x_W, means, style, 0.8)
    axes.plot(
        x_W,
        [mean.estimate for mean in means],
        color=style.color,
        marker=style.marker,
        linestyle="",
        markerfacecolor="white" if is_open else style.color,
        markeredgecolor=style.color if is_open else "white",
        markeredgewidth=0.8 if is_open else 0.4,
        markersize=3.6,
    )
    whole = limit.interval(confidence)
    if math.isnan(whole.estimate):
        return [EndLabel(means[-1].estimate, series.label, style.ink)]
    x_limit = [infinity * factor]
    _bars(axes, x_limit, [whole], style, 0.8)
    _bars(axes, x_limit, [limit.fitting_interval(confidence)], style, 2.4)
    axes.plot(x_limit, [whole.estimate], color=style.color, marker="_", markersize=7)
    return [EndLabel(whole.estimate, series.label, style.ink)]


def _bars(
    axes: Axes, x: Iterable[float], intervals: Sequence[Interval], style: Look, width: float
) -> None:
    ends = np.array([(each.lower, each.upper) for each in intervals])
    axes.vlines(np.asarray(x), ends[:, 0], ends[:, 1], style.color, linewidth=width)


def _width_axis(axes: Axes, widths: list[int], infinity: float) -> None:
    """A tick at infinity, and at as many widths as there is room for, the largest first."""
    octaves = math.log2(infinity / widths[0]) / _MOST_TICKS
    ticks = [infinity]
    for width in reversed(widths):
        if math.log2(min(ticks) / width) >= octaves:
            ticks.append(width)
    width_axis(axes, (widths[0] / 1.5, infinity * 1.5), ticks, names={infinity: "∞"})


def _same_limits(panels: Sequence[Axes]) -> None:
    limits = np.array([axes.get_ylim() for axes in panels])
    for axes in panels:
        axes.set_ylim(limits[:, 0].min(), limits[:, 1].max())


def _print(measured: WidthLimit) -> str:
    settings, confidence = measured.settings, f"{measured.confidence:.0%}"
    parts = [
        f"Means over {_seeds(measured)} with {confidence} t intervals, paired by seed.",
        "Open: 1/√H, the NTK parametrization.",
        f"Lines: fits of $L_\\infty+aH^{{-b}}$, $b$ from {EXPONENTS[0]:g} to {EXPONENTS[-1]:g}; at "
        "∞, thick: models that fit, thin: all models, by which claims are judged.",
    ]
    # The differences for which the data reject every model.
    unfitted = "; ".join(
        f"{_label(variant)}, {SCALES[p]}"
        for variant, p in measured.comparisons
        for limit in [measured.difference(variant, p)]
        if limit.fits and not limit.fitting(measured.confidence)
    )
    if unfitted:
        parts.append(f"No model fits: {unfitted}.")
    if not enough(measured.widths):
        parts.append(
            f"Fewer than {FEWEST_WIDTHS} widths, or a span below {LEAST_SPAN}: too little to judge "
            "a limit by."
        )
    parts += [f"{name}: not interior, {note}." for name, note in measured.not_interior().items()]
    parts.append(f"ADAM* is our reconstruction of the paper's rule. Corpus: {settings['corpus']}.")
    return " ".join(parts)


def _seeds(measured: WidthLimit) -> str:
    """How many seeds were compared, by parametrization of the unfrozen model."""
    counts = {p: len(measured.difference(v, p).values_SxW) for v, p in measured.comparisons}
    shown = {n: f"{n} seed" if n == 1 else f"{n} seeds" for n in counts.values()}
    if len(shown) == 1:
        return next(iter(shown.values()))
    return ", ".join(f"{shown[n]} ({SCALES[p]})" for p, n in counts.items())
