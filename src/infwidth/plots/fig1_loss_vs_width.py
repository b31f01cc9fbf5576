"""Figure 1: final test loss over MLP width, every variant (the paper's main experiment)."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from infwidth.analysis.comparisons import CellLoss, cell_loss
from infwidth.analysis.measurements import Measurements
from infwidth.plots import notes
from infwidth.plots.layout import (
    EndLabel,
    end_labels,
    label_width,
    new_figure,
    set_margins,
    small_print,
)
from infwidth.plots.style import TEXT_WIDTH, look, paper_style

PROXY_WIDTH = 16_384
"""From this width on a finite model is shown as a proxy of the limit."""

LEAST_SPAN = 0.01
"""Nats per token that the loss axis shows at least, so that noise does not look like an effect."""

_DODGE = 0.045
"""Distance of neighbouring variants' document bars, in octaves."""


def draw(measured: Measurements) -> Figure:
    """Mean test loss with the interval over seeds (bands) and over documents (thin bars)."""
    with paper_style():
        return _draw(measured)


def _draw(measured: Measurements) -> Figure:
    figure = new_figure(TEXT_WIDTH, 3.7)
    axes = figure.add_subplot()
    cells = {
        variant: {
            width: cell_loss(measured, variant, width)
            for width in measured.widths
            if not measured.cell(variant, width).empty
        }
        for variant in measured.variants
    }
    labels = []
    for place, (variant, by_width) in enumerate(cells.items()):
        shift = 2 ** (_DODGE * (place - (len(cells) - 1) / 2))
        drawn = _control(axes, variant, by_width) if variant == "constant" else None
        last = drawn or _line(axes, variant, by_width, shift)
        if last is not None:
            labels.append(EndLabel(last, notes.label(measured, variant), look(variant).ink))
    _width_axis(axes, measured.widths)
    axes.set_ylabel("final test loss (nats per token)")
    foot = small_print(figure, _print(measured, cells))
    set_margins(figure, 0.55, label_width(figure, labels), 0.12, foot + 0.42)
    _loss_axis(axes, bool(labels))
    end_labels(axes, labels)
    return figure


def _line(axes: Axes, variant: str, cells: dict[int, CellLoss], shift: float) -> float | None:
    """Draws a variant; returns the loss at its last width, None if nothing finished."""
    style = look(variant)
    widths = list(cells)
    mean = np.array([cell.over_seeds.estimate for cell in cells.values()])
    lower = np.array([cell.over_seeds.lower for cell in cells.values()])
    upper = np.array([cell.over_seeds.upper for cell in cells.values()])
    axes.fill_between(widths, lower, upper, color=style.color, alpha=0.16, linewidth=0)
    if len(widths) == 1:
        axes.vlines(widths, lower, upper, color=style.color, linewidth=2.5, alpha=0.3)
    axes.plot(
        widths,
        mean,
        color=style.color,
        marker=style.marker,
        linestyle=style.line,
        markeredgecolor="white",
        markeredgewidth=0.4,
    )
    for width, cell in cells.items():
        documents = cell.over_documents
        if math.isfinite(documents.half_width):
            axes.vlines(
                width * shift,
                documents.lower,
                documents.upper,
                color=style.color,
                linewidth=0.5,
                alpha=0.55,
            )
        if cell.diverged:
            axes.plot(
                [width * shift],
                [0.985],
                marker="x",
                color=style.color,
                transform=axes.get_xaxis_transform(),
                clip_on=False,
            )
    finite = mean[np.isfinite(mean)]
    return float(finite[-1]) if finite.size else None


def _control(axes: Axes, variant: str, cells: dict[int, CellLoss]) -> float | None:
    """Draws the run without MLPs, the same at every width, across the axes."""
    cell = next(iter(cells.values()))
    style = look(variant)
    loss = cell.over_seeds
    if not loss.count:
        return None
    axes.axhline(loss.estimate, color=style.color, linestyle=style.line)
    if math.isfinite(loss.half_width):
        axes.axhspan(loss.lower, loss.upper, color=style.color, alpha=0.12, linewidth=0)
    return loss.estimate


def _width_axis(axes: Axes, widths: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xlim(widths[0] / 2**0.3, widths[-1] * 2**0.3)
    axes.xaxis.set_major_locator(FixedLocator(widths))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda x, _: f"{x:,.0f}" + ("\n(proxy of ∞)" if x >= PROXY_WIDTH else ""))
    )
    axes.set_xlabel("MLP width $H$")


def _loss_axis(axes: Axes, anything: bool) -> None:
    if not anything:
        axes.set_ylim(0, 1)
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no reported run finished", transform=axes.transAxes, ha="center")
        return
    low, high = axes.get_ylim()
    missing = max(LEAST_SPAN - (high - low), 0.0)
    axes.set_ylim(low - missing / 2, high + missing / 2)


def _print(measured: Measurements, cells: dict[str, dict[int, CellLoss]]) -> str:
    confidence = f"{measured.statistics.confidence:.0%}"
    seeds = len(measured.seeds)
    spread = f"Bands: {confidence} t intervals over {seeds} seeds." if seeds > 1 else "One seed."
    barred = any(
        math.isfinite(cell.over_documents.half_width)
        for by_width in cells.values()
        for cell in by_width.values()
    )
    documents = measured.documents["document"].nunique()
    bars = (
        f"Thin bars: {confidence} bootstrap over {documents} test documents, an uncertainty that "
        "the variants mostly share (paired differences: table 2)."
        if barred
        else ""
    )
    parts = [spread, bars, notes.divergence_note(measured), notes.warning(measured)]
    return " ".join(part for part in [*parts, notes.reconstruction_note(measured)] if part)
