# SPDX-License-Identifier: Apache-2.0
"""Figure 1: final test loss over MLP width, every variant (the paper's main experiment)."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infwidth.drawing.curves import band, crosses, curve, ends, estimates
from infwidth.drawing.layout import EndLabel, finish, new_figure, width_axis
from infwidth.drawing.style import TEXT_WIDTH, look, paper_style
from infwidth.experiments.lm_width import notes
from infwidth.experiments.lm_width.measured import CellLoss, Measurements

PROXY_WIDTH = 16_384
"""From this width on a finite model is shown as a proxy of the limit."""

LEAST_SPAN = 0.01
"""Nats per token that the loss axis shows at least, so that noise does not look like an effect."""

_STEP = 0.018
"""Distance of neighbouring variants' document bars and crosses, as a share of the width axis."""


@paper_style()
def draw(measured: Measurements) -> Figure:
    """Mean test loss with the interval over seeds (bands) and over documents (thin bars)."""
    figure = new_figure(TEXT_WIDTH, 3.7)
    axes = figure.add_subplot()
    cells = {
        variant: {
            width: measured.loss(variant, width)
            for width in measured.widths
            if not measured.cell(variant, width).empty
        }
        for variant in measured.variants
    }
    last = {
        variant: _control(axes, variant, by_width)
        if variant == "constant"
        else _line(axes, variant, by_width)
        for variant, by_width in cells.items()
    }
    _width_axis(axes, measured.widths, len(cells))
    _document_bars(axes, cells)
    _crosses(axes, cells)
    axes.set_ylabel("final test loss (nats per token)")
    _loss_axis(axes, any(end is not None for end in last.values()))
    top = axes.get_ylim()[1]
    labels = [
        EndLabel(
            top if end is None else end,
            notes.label(measured, name) + (" (diverged)" if end is None else ""),
            look(name).ink,
        )
        for name, end in last.items()
    ]
    second_line = 0.17 if measured.widths[-1] >= PROXY_WIDTH else 0.0
    note = _print(measured, cells)
    finish(figure, note, {axes: labels}, top=0.14, bottom=0.42 + second_line)
    return figure


def _line(axes: Axes, variant: str, cells: dict[int, CellLoss]) -> float | None:
    """Draws a variant; returns the loss at its last width, None if nothing finished."""
    style = look(variant)
    widths = list(cells)
    losses = [cell.over_seeds for cell in cells.values()]
    band(axes, widths, losses, style.color)
    lower, upper = ends(losses)
    known = np.pad(np.isfinite(upper), 1)
    alone = known[1:-1] & ~known[:-2] & ~known[2:]
    if alone.any():  # a band needs two neighbours
        axes.vlines(
            np.array(widths)[alone], lower[alone], upper[alone], style.color, alpha=0.3, linewidth=3
        )
    mean = estimates(losses)
    curve(axes, widths, mean, style)
    finite = mean[np.isfinite(mean)]
    return float(finite[-1]) if finite.size else None


def _document_bars(axes: Axes, cells: dict[str, dict[int, CellLoss]]) -> None:
    """Bars in a strip to the right of the largest width, one a variant."""
    for place, (variant, by_width) in enumerate(cells.items()):
        cell = by_width.get(max(by_width, default=0))
        if cell is None or not math.isfinite(cell.over_documents.half_width):
            continue
        across = 1 - _STEP * (len(cells) - place)
        x = axes.transLimits.inverted().transform((across, 0))[0]
        x = axes.xaxis.get_transform().inverted().transform(x)
        bar = cell.over_documents
        axes.vlines(x, bar.lower, bar.upper, look(variant).color, linewidth=0.8)
        axes.plot(x, bar.estimate, marker="_", markersize=3.5, color=look(variant).color)


def _crosses(axes: Axes, cells: dict[str, dict[int, CellLoss]]) -> None:
    """A cross at the top edge for each cell of which a run diverged."""
    low, high = np.log2(axes.get_xlim())
    widths = sorted({width for by_width in cells.values() for width in by_width})
    for width in widths:
        lost = [name for name, by_width in cells.items() if width in by_width]
        lost = [name for name in lost if cells[name][width].diverged]
        for place, variant in enumerate(lost):
            shift = 2 ** ((high - low) * 1.2 * _STEP * (place - (len(lost) - 1) / 2))
            crosses(axes, [width * shift], look(variant).color)


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


def _width_axis(axes: Axes, widths: list[int], variants: int) -> None:
    octaves = max(math.log2(widths[-1] / widths[0]), 1.0)
    margin, strip = 0.05 * octaves, (0.05 + 1.35 * _STEP * variants) * octaves
    limits = (widths[0] / 2**margin, widths[-1] * 2**strip)
    proxies = {float(width): f"{width:,}\n(proxy of ∞)" for width in widths if width >= PROXY_WIDTH}
    width_axis(axes, limits, widths, names=proxies)


def _loss_axis(axes: Axes, anything: bool) -> None:
    if not anything:
        axes.set_ylim(0, 1)
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no reported run finished", transform=axes.transAxes, ha="center")
        return
    low, high = axes.get_ylim()
    missing = max(LEAST_SPAN - (high - low), 0.0)
    axes.set_ylim(low - missing / 2, high + missing / 2)


def _print(measured: Measurements, cells: dict[str, dict[int, CellLoss]]) -> list[str]:
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
        f"Thin bars: {confidence} bootstrap over {documents} test documents at the largest width, "
        "an uncertainty that the variants mostly share (paired differences: table\u00a02)."
        if barred
        else ""
    )
    return [spread, bars, notes.divergence_note(measured), *notes.figure_notes(measured)]
