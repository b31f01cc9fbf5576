# SPDX-License-Identifier: Apache-2.0
"""Figure 3: validation loss over the readout's learning rate, a panel a variant."""

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from infwidth.config.variants import VARIANTS
from infwidth.drawing.layout import (
    EndLabel,
    end_labels,
    label_width,
    new_figure,
    set_margins,
    small_print,
)
from infwidth.drawing.style import TEXT_WIDTH, look, paper_style
from infwidth.experiments.lm_width import notes
from infwidth.experiments.lm_width.measured import Measurements
from infwidth.stats.selection import race_note

COLUMNS = 3
LABEL_SIZE = 6.5
_PAST_THE_MARKER = 1.25

_SOLID, _DASHED, _DOTTED, _MIXED = "-", (0, (3, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1))


class Curve(NamedTuple):
    """Validation loss over the rate, at one width (and κ).

    Attributes:
        name: label at its end.
        table: by rate, ascending: columns mean, low and high over seeds; NaN where a run diverged.
        line: line style.
        filled: whether markers are filled (the curve that the choice was made on).
    """

    name: str
    table: pd.DataFrame
    line: str | tuple
    filled: bool


@paper_style()
def draw(measured: Measurements) -> Figure:
    """The reference width from tuning; the smallest and the largest where they were run."""
    curves = {name: _curves(measured, name) for name in VARIANTS if name != "constant"}
    curves = {name: found for name, found in curves.items() if found}
    rows = max(math.ceil(len(curves) / COLUMNS), 1)
    columns = min(max(len(curves), 1), COLUMNS)
    figure = new_figure(TEXT_WIDTH, 0.95 + 1.45 * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels = dict(zip(curves, grid.flat, strict=False))
    for axes in list(grid.flat)[max(len(curves), 1) :]:
        axes.remove()
    every = [curve for found in curves.values() for curve in found]
    _rate_axis(grid[0, 0], every)
    if not every:
        grid[0, 0].set_xticks([])
        grid[0, 0].set_yticks([])
        grid[0, 0].text(0.5, 0.5, "no tuning run", transform=grid[0, 0].transAxes, ha="center")
    limits = _limits(every)
    grid[0, 0].set_ylim(*limits)
    control = _control(measured)
    labels = {}
    for name, axes in panels.items():
        if control is not None and limits[0] < control < limits[1]:
            axes.axhline(control, color=look("constant").color, linestyle=look("constant").line)
        axes.set_title(notes.label(measured, name), loc="left", pad=5, color=look(name).ink)
        _mark_choice(axes, measured, name)
        labels[name] = [_curve(axes, name, curve, limits[1]) for curve in curves[name]]
        # Where rows below are shorter, the last panel of a column carries the axis.
        axes.tick_params(labelbottom=True)
    for axes in grid[:, 0]:
        axes.set_ylabel("validation loss\n(nats per token)")
    foot = small_print(figure, _print(measured, bool(curves), control is not None))
    gap = 0.08 + max((label_width(figure, x, LABEL_SIZE) for x in labels.values()), default=0.1)
    set_margins(figure, gap, 0.26, foot + 0.42, column_gap=gap, row_gap=0.45)
    figure.supxlabel(
        "learning rate of the readout, in units of the first step's rms",
        fontsize=8,
        x=0.5,
        y=(foot + 0.04) / figure.get_figheight(),
        va="bottom",
    )
    for name, axes in panels.items():
        end_labels(axes, labels[name], LABEL_SIZE)
    return figure


def _curves(measured: Measurements, variant: str) -> list[Curve]:
    """What was run of a variant: at the reference width, and at other widths for sensitivity."""
    runs = measured.runs[measured.runs["variant"] == variant]
    tuning = runs[runs["role"] == "tuning"]
    if tuning.empty:
        return []
    kappa = measured.selection.get(variant, {}).get("kappa")
    others = runs[(runs["role"] == "sensitivity") & (runs["width"] != measured.reference_width)]
    if kappa is not None:
        others = others[np.isclose(others["kappa"], kappa)]
        at_kappa = tuning[np.isclose(tuning["kappa"], kappa)]
    else:
        at_kappa = tuning
    found = [Curve(f"{measured.reference_width:,}", _by_rate(at_kappa), _SOLID, True)]
    ends = {min(others["width"], default=0): _DASHED, max(others["width"], default=0): _DOTTED}
    for width, line in ends.items():
        if width:
            varied = others[others["width"] == width]
            # Between the rates beside it stands the chosen one, in the reported run of that seed.
            same = (runs["width"] == width) & runs["seed"].isin(varied["seed"])
            rows = pd.concat([varied, runs[same & (runs["role"] == "report")]])
            found.append(Curve(f"{width:,}", _by_rate(rows), line, False))
    if kappa is not None and kappa != 1.0 and (tuning["kappa"] == 1.0).any():
        found.append(Curve("κ = 1", _by_rate(tuning[tuning["kappa"] == 1.0]), _MIXED, False))
    return found


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
    axes.plot(
        rates,
        mean,
        color=style.color,
        linestyle=curve.line,
        linewidth=1.2 if curve.filled else 0.9,
    )
    face = style.color if curve.filled else "white"
    dots: dict[str, Any] = {"color": style.color, "markerfacecolor": face, "markeredgewidth": 0.7}
    axes.plot(rates, within, linestyle="", marker=style.marker, markersize=3.2, **dots)
    above = rates[mean > top]
    edge: dict[str, Any] = {
        "linestyle": "",
        "transform": axes.get_xaxis_transform(),
        "clip_on": False,
    }
    axes.plot(above, np.ones_like(above), marker=6, markersize=4, color=style.color, **edge)
    lost = rates[np.isnan(mean)]
    axes.plot(lost, np.ones_like(lost), marker="x", markersize=4, color=style.color, **edge)
    finite = np.isfinite(mean)
    end = float(mean[finite][-1]) if finite.any() else top
    return EndLabel(end, curve.name, style.ink, float(rates[-1]) * _PAST_THE_MARKER)


def _mark_choice(axes: Axes, measured: Measurements, variant: str) -> None:
    """A vertical line at the rate that the reported runs use."""
    chosen = measured.selection.get(variant, {}).get("learning_rate")
    if chosen is not None:
        axes.axvline(chosen, color="#999999", linewidth=0.8, zorder=0)


def _control(measured: Measurements) -> float | None:
    """Validation loss without MLPs, at the trunk's rate; None if not run."""
    runs = measured.runs
    fixed = measured.settings["training"]["trunk_learning_rate"]
    runs = runs[(runs["role"] == "trunk") & np.isclose(runs["trunk_learning_rate"], fixed)]
    loss = float(runs.loc[runs["status"] == "done", "validation_loss"].mean())
    return loss if math.isfinite(loss) else None


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


def _others_note(measured: Measurements) -> str:
    runs = measured.runs
    count = runs.loc[runs["role"] == "sensitivity", "seed"].nunique()
    return "mean and range over the first reported seeds" if count > 1 else "one reported seed"


def _print(measured: Measurements, anything: bool, control: bool) -> str:
    runs = measured.runs
    seeds = runs.loc[runs["role"] == "tuning", "seed"].nunique()
    over = f"mean and range over {seeds} tuning seeds" if seeds > 1 else "one tuning seed"
    parts = [
        f"Filled: width {measured.reference_width:,}, where rates are tuned ({over}). Open: other "
        f"MLP widths, {_others_note(measured)}. Vertical line: the rate chosen. × diverged; caret: "
        "above the axis."
        if anything
        else "",
        race_note(measured.settings["lm_width"].get("tuning", {})),
        "Dotted level: no MLPs." if control else "",
        notes.warning(measured),
        notes.reconstruction_note(measured),
    ]
    return " ".join(part for part in parts if part)
