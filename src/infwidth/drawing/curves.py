# SPDX-License-Identifier: Apache-2.0
"""Curves, their intervals as bars and bands, and what stands beside them: guides, keys, axes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike

from infwidth.drawing.layout import width_axis
from infwidth.drawing.style import Look
from infwidth.stats.statistics import Interval

GREY = "#777777"


def curve(
    axes: Axes, x: ArrayLike, y: ArrayLike, style: Look, face: str | None = None, **more: Any
) -> None:
    """A line through markers with a white rim; with a `face`, such as "white", they are open."""
    markers = {
        "marker": style.marker,
        "markerfacecolor": face or style.color,
        "markeredgecolor": style.color if face else "white",
        "markeredgewidth": 0.7 if face else 0.4,
    }
    axes.plot(x, y, **{"color": style.color, "linestyle": style.line, **markers, **more})


def points(
    axes: Axes, x: ArrayLike, y: ArrayLike, style: Look, face: str | None = None, **more: Any
) -> None:
    """The markers of `curve`, without its line."""
    curve(axes, x, y, style, face, **{"linestyle": "", **more})


def estimates(intervals: Sequence[Interval]) -> np.ndarray:
    """What stands in the middle of each."""
    return np.array([each.estimate for each in intervals])


def ends(intervals: Sequence[Interval]) -> tuple[np.ndarray, np.ndarray]:
    """The lower and the upper end of each."""
    lower, upper = ([getattr(each, end) for each in intervals] for end in ("lower", "upper"))
    return np.array(lower), np.array(upper)


def bars(
    axes: Axes, x: ArrayLike, intervals: Sequence[Interval], color: Any, linewidth: float = 0.8
) -> None:
    """An upright bar for each interval."""
    axes.vlines(x, *ends(intervals), color, linewidth=linewidth)


def band(
    axes: Axes, x: ArrayLike, intervals: Sequence[Interval], color: Any, alpha: float = 0.16
) -> None:
    """A band between the ends of the intervals."""
    axes.fill_between(x, *ends(intervals), color=color, alpha=alpha, linewidth=0)


def crosses(axes: Axes, x: ArrayLike, color: Any, **more: Any) -> None:
    """A cross at the top edge at each x, for runs that diverged."""
    marks = {"marker": "x", "linestyle": "", "clip_on": False, **more}
    axes.plot(x, np.ones_like(x), color=color, transform=axes.get_xaxis_transform(), **marks)


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
        band(axes, places, means, style.color, alpha)
    more = {"linestyle": line or style.line, "linewidth": 1.0, "markersize": 3.4}
    curve(axes, places, estimates(means), style, face, label=label, **more)


def half_power_guide(axes: Axes, widths: Sequence[int], start: float, size: float) -> None:
    """A dotted line in proportion to H^−½ from a height on, named in letters of a size."""
    H = np.array(widths, np.float64)
    height = start * (H / H[0]) ** -0.5
    axes.plot(H, height, color="#999999", linestyle=(0, (1, 1)), linewidth=0.9)
    axes.annotate(
        "$H^{-1/2}$",
        (math.sqrt(H[0] * H[-1]), math.sqrt(height[0] * height[-1])),
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
