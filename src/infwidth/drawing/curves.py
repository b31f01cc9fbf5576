# SPDX-License-Identifier: Apache-2.0
"""Curves with their intervals as bands, and what stands beside them: guides, keys, axes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from infwidth.drawing.layout import width_axis
from infwidth.drawing.style import Look
from infwidth.stats.statistics import Interval

GREY = "#777777"


def banded(
    axes: Axes,
    places: Sequence[float],
    means: Sequence[Interval],
    style: Look,
    label: str = "_",
    *,
    alpha: float,
    face: str | None = None,
    line: Any = None,
) -> None:
    """A curve and its intervals as a band of that opacity, none at 0.

    Markers are filled with the curve's colour, or with another `face`; `line` may replace the
    style's own.
    """
    if alpha:
        lower, upper = ([getattr(mean, end) for mean in means] for end in ("lower", "upper"))
        axes.fill_between(places, lower, upper, color=style.color, alpha=alpha, linewidth=0)
    axes.plot(
        places,
        [mean.estimate for mean in means],
        color=style.color,
        linestyle=line or style.line,
        linewidth=1.0,
        marker=style.marker,
        markersize=3.4,
        markerfacecolor=face or style.color,
        markeredgecolor=style.color if face else "white",
        markeredgewidth=0.7 if face else 0.4,
        label=label,
    )


def half_power_guide(axes: Axes, widths: Sequence[int], start: float, size: float) -> None:
    """A dotted line in proportion to H^−½ from a height on, named in letters of a size."""
    ends = np.array(widths, np.float64)
    height = start * (ends / ends[0]) ** -0.5
    axes.plot(ends, height, color="#999999", linestyle=(0, (1, 1)), linewidth=0.9)
    axes.annotate(
        "$H^{-1/2}$",
        (math.sqrt(ends[0] * ends[-1]), math.sqrt(height[0] * height[-1])),
        xytext=(2, 2),
        textcoords="offset points",
        color=GREY,
        fontsize=size,
    )


def small_key(axes: Axes, place: Any, size: float, **more: Any) -> None:
    """A key without a frame, in letters of a size, above all curves."""
    key = axes.legend(
        loc=place, fontsize=size, borderaxespad=0.2, labelspacing=0.3, frameon=False, **more
    )
    key.set_zorder(5)


def log_width_axes(axes: Axes, widths: Sequence[int], most_ticks: int) -> None:
    """Logarithmic axes of an error and of widths, of which so many are named at most."""
    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter(NullFormatter())
    ticks = widths[:: -(-len(widths) // most_ticks)]
    width_axis(axes, (widths[0] / 1.4, widths[-1] * 1.4), ticks, "width $H$")


def step_axis(axes: Axes) -> None:
    """A logarithmic x axis of training steps."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(10))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.set_xlabel("steps")
