# SPDX-License-Identifier: Apache-2.0
"""Figure 3: loss over the readout's learning rate at every width, and over width at one rate."""

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from infwidth.config.variants import ALL_VARIANTS
from infwidth.drawing.curves import crosses, points
from infwidth.drawing.layout import EndLabel, finish, label_width, new_figure
from infwidth.drawing.style import TEXT_WIDTH, look, paper_style
from infwidth.experiments.lm_width import notes
from infwidth.experiments.lm_width.measured import Measurements
from infwidth.experiments.panels import Series, lines
from infwidth.stats.selection import race_note
from infwidth.stats.statistics import mean_interval

COLUMNS = 3
LABEL_SIZE = 6.5
_PAST_THE_MARKER = 1.25

_STYLES = ((0, (1, 1)), (0, (3, 1.5)), "-", (0, (4, 1, 1, 1)), (0, (6, 1)), (0, (2, 1)))
"""Lines of the widths, in turn."""


class Curve(NamedTuple):
    """Validation loss over the rate, at one width (and the chosen κ).

    Attributes:
        name: label at its end.
        table: by rate, ascending: columns mean, low and high over seeds; NaN where a run diverged.
        line: line style.
        chosen: the rate that tuning chose; its marker is filled.
    """

    name: str
    table: pd.DataFrame
    line: str | tuple
    chosen: float | None


@paper_style()
def draw(measured: Measurements) -> Figure:
    """A panel a variant: the search at every width. Below: test losses, tuned and at one rate."""
    curves = {name: _curves(measured, name) for name in ALL_VARIANTS if name != "constant"}
    curves = {name: found for name, found in curves.items() if found}
    at_one_rate = [v for v in measured.variants if v != "constant" and _one_rate(measured, v)]
    searched = -(-len(curves) // COLUMNS)
    rows = max(searched + bool(at_one_rate), 1)
    figure = new_figure(TEXT_WIDTH, 1.0 + 1.5 * rows)
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    panels = dict(zip(curves, grid.flat, strict=False))
    below: Any = grid[searched, :2] if at_one_rate else ()
    used = [*panels.values(), *below] or [grid[0, 0]]
    for axes in set(grid.flat) - set(used):
        axes.remove()
    if not panels:
        used[0].set_axis_off()
        used[0].text(0.5, 0.5, "no tuning run", transform=used[0].transAxes, ha="center")
    every = [curve for found in curves.values() for curve in found]
    limits = _limits(every)
    labels = {}
    for name, axes in panels.items():
        _rate_axis(axes, every)
        axes.set_ylim(*limits)
        axes.tick_params(labelleft=axes in grid[:, 0])
        axes.set_title(notes.label(measured, name), loc="left", pad=5, color=look(name).ink)
        labels[axes] = [_curve(axes, name, curve, limits[1]) for curve in curves[name]]
    # Where rows below are shorter, the last panel of a column carries the label.
    for column in grid[:searched].T:
        [*_, last] = [axes for axes in column if axes in labels] or [None]
        if last is not None:
            last.set_xlabel("learning rate of the readout")
    for axes in grid[:searched, 0]:
        axes.set_ylabel("validation loss\n(nats per token)")
    beside = _over_width(measured, at_one_rate, below) if at_one_rate else []
    gap = 0.08 + max((label_width(figure, x, LABEL_SIZE) for x in labels.values()), default=0.1)
    if beside:  # in the place of the last column
        labels[below[1]] = beside
    finish(
        figure,
        _print(measured, bool(curves)),
        labels,
        right=gap,
        top=0.26,
        column_gap=gap,
        row_gap=0.62,
        size=LABEL_SIZE,
    )
    return figure


def _curves(measured: Measurements, variant: str) -> list[Curve]:
    """The search of a variant at every width, at the κ that was chosen there."""
    found = []
    for width, line in zip(measured.widths, _STYLES * len(measured.widths), strict=False):
        runs = measured.cell(variant, width, "tuning")
        choice = measured.choice(variant, width)
        if runs.empty or choice is None:
            continue
        if choice["kappa"] is not None:
            runs = runs[np.isclose(runs["kappa"], choice["kappa"])]
        # The search alone: its choice may have been moved by runs at full length.
        chosen = choice.get("searched_learning_rate", choice["learning_rate"])
        found.append(Curve(f"{width:,}", _by_rate(runs), line, chosen))
    return found


def _one_rate(measured: Measurements, variant: str) -> bool:
    return all(measured.losses(variant, width, "one_rate") for width in measured.widths)


def _over_width(measured: Measurements, variants: list[str], panels: Any) -> list[EndLabel]:
    """Test loss over width on the same seeds: tuned at every width, and at one rate."""
    ends = {}
    every: list[float] = []
    reference = measured.settings["lm_width"]["reference_width"]
    titles = ("tuned at every width", f"at the rate of $H$ = {reference:,}")
    for axes, title, role in zip(panels, titles, ("report", "one_rate"), strict=True):
        series = []
        for variant in variants:
            intervals = []
            for width in measured.widths:
                seeds = measured.losses(variant, width, "one_rate")
                losses = measured.losses(variant, width, role)
                some = [loss for seed, loss in losses.items() if seed in seeds]
                intervals.append(mean_interval(some, measured.statistics.confidence))
            series.append(Series(look(variant), intervals))
            ends[variant] = intervals[-1].estimate
            every += [x for i in intervals for x in (i.lower, i.upper) if math.isfinite(x)]
            every += [i.estimate for i in intervals]
        lines(axes, measured.widths, series)
        axes.set_title(title, loc="left", pad=5)
        axes.set_xlabel("MLP width $H$")
    pad = 0.05 * (max(every) - min(every)) or 1e-3
    for axes in panels:
        axes.set_ylim(min(every) - pad, max(every) + pad)
    panels[0].set_ylabel("test loss\n(nats per token)")
    panels[1].tick_params(labelleft=False)
    return [EndLabel(ends[v], notes.label(measured, v), look(v).ink) for v in variants]


def _by_rate(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean and range over seeds of each rate; a rate of which one run diverged has none."""
    loss = runs["validation_loss"].where(runs["status"] == "done")
    by_rate = loss.groupby(runs["learning_rate"])
    table = by_rate.agg(mean="mean", low="min", high="max")
    lost = loss.isna().groupby(runs["learning_rate"]).any()
    return table.where(~lost, axis=0)


def _curve(axes: Axes, variant: str, curve: Curve, top: float) -> EndLabel:
    """Draws one curve; what lies above the axis is marked at its edge. Returns its label."""
    style = look(variant)
    rates = curve.table.index.to_numpy()
    mean = curve.table["mean"].to_numpy()
    within = np.where(mean <= top, mean, np.nan)
    axes.vlines(
        rates,
        curve.table["low"].clip(upper=top),
        curve.table["high"].clip(upper=top),
        style.color,
        linewidth=0.6,
    )
    axes.plot(rates, mean, color=style.color, linestyle=curve.line, linewidth=0.9)
    rim: dict[str, Any] = {
        "markersize": 3.2,
        "markeredgewidth": 0.7,
        "markeredgecolor": style.color,
    }
    points(axes, rates, within, style, "white", **rim)
    chosen = rates == curve.chosen
    points(axes, rates[chosen], within[chosen], style, **rim)
    crosses(axes, rates[mean > top], style.color, marker=6, markersize=4)
    crosses(axes, rates[np.isnan(mean)], style.color, markersize=4)
    finite = np.isfinite(mean)
    end = float(mean[finite][-1]) if finite.any() else top
    return EndLabel(end, curve.name, style.ink, float(rates[-1]) * _PAST_THE_MARKER)


def _rate_axis(axes: Axes, curves: list[Curve]) -> None:
    rates = np.array([rate for curve in curves for rate in curve.table.index])
    axes.set_xscale("log")
    if not rates.size:
        return
    decades = math.log10(rates.max() / rates.min())
    axes.set_xlim(rates.min() / 1.4, rates.max() * 1.4)
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0,) if decades > 1.6 else (1.0, 3.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def _limits(curves: list[Curve]) -> tuple[float, float]:
    """Limits of the loss that a few runs near divergence do not stretch."""
    losses = np.concatenate([curve.table["mean"].to_numpy() for curve in curves] or [np.zeros(0)])
    losses = losses[np.isfinite(losses)]
    if not losses.size:
        return 0.0, 1.0
    low, quarter = float(losses.min()), float(np.quantile(losses, 0.75))
    high = min(float(losses.max()), quarter + 2 * (quarter - low))
    pad = max(0.07 * (high - low), 1e-3)
    return low - pad, high + pad


def _print(measured: Measurements, anything: bool) -> list[str]:
    own, training = measured.settings["lm_width"], measured.settings["training"]
    seeds = own.get("tuning", {}).get("seeds", [])
    steps = min(own.get("search_steps", training["steps"]), training["steps"])
    over = f"mean and range over up to {len(seeds)} tuning seeds" if seeds else ""
    count = own.get("one_rate_seeds", 0)
    return [
        f"Above: the search, {steps:,} steps, {over}; a line a width. Rates are in units of the "
        "first step's rms. Filled: chosen. × diverged; caret: above the axis."
        if anything
        else "",
        race_note(own.get("tuning", {})),
        f"Below: final losses, {measured.statistics.confidence:.0%} t intervals over the first "
        f"{count} seeds."
        if count
        else "",
        *notes.figure_notes(measured),
    ]
