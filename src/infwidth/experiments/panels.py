# SPDX-License-Identifier: Apache-2.0
"""What figures share: rows of differences; of studies lines, the margin, notes (no JAX)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from infwidth.config.variants import ALL_VARIANTS
from infwidth.drawing.curves import bars, curve, estimates, points
from infwidth.drawing.style import Look, look
from infwidth.experiments.measured import Study
from infwidth.stats.statistics import Interval

_SHORT = {
    "frozen": "frozen",
    "unfrozen": "unfrozen",
    "ntk": "NTK",
    "adam_star": "ADAM* (B)",
    "adam_star_error": "ADAM* (C)",
    "adam_star_global": "ADAM* (A)",
    "adam_star_measured": "ADAM*, R",
    "ntk_measured": "NTK, R",
    "constant": "no MLPs",
}

ROW = 0.13
"""Inches a row of differences."""

_BESIDE = 0.012
"""Distance of neighbouring series' points, as a share of the axis."""


def short(variant: str) -> str:
    """A name for keys and heads."""
    return _SHORT.get(variant, ALL_VARIANTS[variant].label)


def reported(measured: Study) -> list[str]:
    """The variants with MLPs that a study reports, in the order of the tables of variants."""
    arms = [arm for each in measured.conditions.values() for arm in each["arms"]]
    ran = {variant for variant, width in arms if width}
    return [name for name in ALL_VARIANTS if name in ran]


class Series(NamedTuple):
    """A line: how it is drawn, an interval a place, and whether its markers are open."""

    style: Look
    intervals: Sequence[Interval]
    is_open: bool = False


def lines(axes: Axes, places: Sequence[float], series: Sequence[Series]) -> None:
    """A line a series with its intervals, beside each other; the limits of a log axis are set."""
    steps = math.log(max(places) / min(places)) or math.log(4)
    axes.set_xscale("log")
    axes.set_xlim(min(places) * math.exp(-0.1 * steps), max(places) * math.exp(0.1 * steps))
    axes.xaxis.set_major_locator(FixedLocator(list(places)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{place:,}" for place in places])
    for k, (style, intervals, is_open) in enumerate(series):
        shift = math.exp(1.2 * steps * _BESIDE * (k - (len(series) - 1) / 2))
        x = np.array(places) * shift
        bars(axes, x, intervals, style.color)
        curve(axes, x, estimates(intervals), style, "white" if is_open else None, linewidth=0.9)


def difference_point(axes: Axes, interval: Interval, row: float, style: Look) -> None:
    """A difference with its interval in a row of its own; nothing where there is no number."""
    if not math.isfinite(interval.estimate):
        return
    if math.isfinite(interval.lower):
        axes.hlines(row, interval.lower, interval.upper, style.color, linewidth=1.1)
    points(axes, interval.estimate, row, style, marker=style.marker or "o", markersize=3.8)


def stripes(axes: Axes, rows: int) -> None:
    """A grey band behind every other row."""
    for row in range(1, rows, 2):
        axes.axhspan(row - 0.5, row + 0.5, color="#f4f4f4", linewidth=0, zorder=0)


def difference_rows(axes: Axes, names: Sequence[str], title: str) -> None:
    """Rows by their names, the first on top, beside a line at 0; a key fits below the title."""
    axes.axvline(0, color=look("frozen").color, linewidth=0.9, zorder=1)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(False)
    axes.grid(True, axis="x")
    axes.tick_params(axis="y", length=0, labelsize=6.5)
    axes.set_title(title, loc="left", pad=14.0)


def margin_band(axes: Axes, margin: float, along_x: bool = False) -> None:
    """The margin of equivalence around 0, where frozen features lie."""
    span, line = (axes.axvspan, axes.axvline) if along_x else (axes.axhspan, axes.axhline)
    span(-margin, margin, color="#ececec", linewidth=0, zorder=0)
    line(0, color=look("frozen").color, linewidth=0.9, zorder=1)


def margin_axis(axes: Axes, margin: float) -> None:
    """A y axis of differences, linear within the margin and logarithmic beyond.

    Ticks are the margin's ends, and 1, 2 and 5 of every decade beyond where there is room.
    """
    axes.set_yscale("symlog", linthresh=margin, linscale=0.7)
    low, high = axes.get_ylim()
    place = axes.yaxis.get_transform().transform
    room = 0.08 * (place(high) - place(low))
    ticks = [0.0]
    for sign in (-1, 1):
        last = 0.0
        for size in (margin, *(m * 10.0**k for k in range(-4, 3) for m in (1, 2, 5))):
            tick = sign * size
            if size >= margin and low <= tick <= high and abs(place(tick) - place(last)) >= room:
                ticks.append(tick)
                last = tick
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_yticks(ticks, [f"{tick:+g}".replace("-", "−") if tick else "0" for tick in ticks])


def margin_of(measured: Study) -> float:
    """Within which two losses count as equal, nats per token."""
    return float(measured.settings["statistics"]["equivalence_margin"])


def notes(measured: Study, seeds: Sequence[int]) -> str:
    """What every figure of a study says: intervals, the margin, readings, losses, the corpus."""
    runs = measured.runs
    lost = int((runs["status"] != "done").sum())
    loose = [name for name, each in measured.settings["selection"].items() if not each["interior"]]
    ran = reported(measured)
    parts = [
        f"Bars: {measured.confidence:.0%} t intervals over {len(seeds)} seeds, paired by seed."
        if len(seeds) > 1
        else "One seed.",
        f"Grey: within the margin, ±{margin_of(measured):g}.",
        "R: measured scales." if any(name.endswith("_measured") for name in ran) else "",
        f"{lost} reported {'run' if lost == 1 else 'runs'} diverged." if lost else "",
        f"{len(loose)} of {len(measured.settings['selection'])} rates are not interior (table)."
        if loose
        else "",
        "ADAM* is our reconstruction (B) of the paper's rule."
        + (" (C): v of the errors alone." if "adam_star_error" in ran else ""),
        f"Corpus: {measured.settings['corpus']}.",
    ]
    return " ".join(filter(None, parts))
