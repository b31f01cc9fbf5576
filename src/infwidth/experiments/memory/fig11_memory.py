# SPDX-License-Identifier: Apache-2.0
"""Figure 11: bytes of the kernel form over the inputs seen, against dense forms of some widths."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from infwidth.drawing.layout import (
    EndLabel,
    end_labels,
    label_width,
    new_figure,
    set_margins,
    small_print,
)
from infwidth.drawing.style import TEXT_WIDTH, look, paper_style
from infwidth.experiments.memory.measured import Memory, Quantity

_KERNEL = look("adam_star")
_DENSE = "#555555"
_MOST_TICKS = 5


_PANELS: dict[Quantity, str] = {"state": "kept between steps", "step": "taken by a training step"}


@paper_style()
def draw(measured: Memory) -> Figure:
    """Left: state of all MLPs. Right: all that a step takes. Dots: the crossings."""
    figure = new_figure(TEXT_WIDTH, 3.0)
    row = figure.subplots(1, len(_PANELS), sharex=True, sharey=True, squeeze=False)[0]
    labels = [
        _panel(axes, measured, *each) for axes, each in zip(row, _PANELS.items(), strict=True)
    ]
    _inputs_axis(row[0])
    row[0].set_yscale("log")
    row[0].yaxis.set_minor_locator(NullLocator())
    row[0].yaxis.set_major_formatter(FuncFormatter(lambda y, _: _size(y)))
    foot = small_print(figure, _print(measured))
    gap = max(label_width(figure, wanted) for wanted in labels)
    set_margins(figure, gap, 0.24, foot + 0.42, column_gap=gap + 0.1)
    for axes, wanted in zip(row, labels, strict=True):
        end_labels(axes, wanted)
    return figure


def _panel(axes: Axes, measured: Memory, quantity: Quantity, title: str) -> list[EndLabel]:
    """Draws one quantity; returns what belongs to the right of the axes."""
    inputs_T, bytes_T = measured.kernel(quantity)
    crossings = measured.crossings(quantity)
    reached = [crossing for crossing in crossings if math.isfinite(crossing.inputs)]
    for crossing in crossings:
        axes.axhline(crossing.size, color=_DENSE, linewidth=0.7)
    axes.plot(
        [crossing.inputs for crossing in reached],
        [crossing.size for crossing in reached],
        color="black",
        marker="o",
        markersize=3,
        linestyle=":",
        linewidth=0.8,
        zorder=3,
    )
    axes.plot(inputs_T, bytes_T, color=_KERNEL.color, marker=_KERNEL.marker)
    axes.set_title(title, loc="left", pad=3)
    axes.set_xlabel("inputs seen by each MLP $t$")
    dense = [EndLabel(c.size, f"$H$ = {_count(c.width)}", _DENSE) for c in crossings]
    return [*dense, EndLabel(float(bytes_T[-1]), "kernel form", _KERNEL.ink)]


def _inputs_axis(axes: Axes) -> None:
    axes.set_xscale("log", base=2)
    low, high = (math.log2(end) for end in axes.get_xlim())
    every = max(1, math.ceil((high - low) / _MOST_TICKS))
    ticks = [2.0**k for k in range(math.ceil(low), math.floor(high) + 1) if k % every == 0]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _count(x)))


def _count(value: float) -> str:
    """A power of two in a few letters: 512, 16k, 1M."""
    for unit, letter in ((2**20, "M"), (2**10, "k")):
        if value >= unit and value % unit == 0:
            return f"{value / unit:.0f}{letter}"
    return f"{value:,.0f}"


def _size(value: float) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return f"{value:.3g} B"


def _print(measured: Memory) -> str:
    model, training = (measured.settings[name] for name in ("model", "training"))
    tokens = training["batch_size"] * model["context"]
    resident = "; ".join(
        f"{row.form.replace('adam_star', 'dense')} {_size(row.resident)} for {_size(row.counted)} "
        "counted"
        for row in measured.resident().itertuples()
    )

    def ratio(quantity: Quantity, form: str = "adam_star") -> str:
        found = measured.inputs_per_unit(quantity, form)
        return f"{found:.2f}" if math.isfinite(found) else "no"

    parts = [
        f"Transformer of {model['layers']} layers, D = {model['d_model']}, {tokens:,} inputs a "
        "step; ADAM*; lines: dense MLPs of width H; dots: where the kernel form outgrows them.",
        f"At the largest width that is at t = {ratio('state')} H in what is kept "
        f"(ω and the inputs seen included), {ratio('trained')} H if ω is not counted, "
        f"{ratio('trained', 'adam')} H against elementwise Adam's M, m and v, and "
        f"{ratio('step')} H in a step.",
        "Kept: sizes of arrays, trunk left out; buffers double when they are full, points stand "
        "where they are. A step: what XLA reserves for it, trunk included.",
        f"A process's own growth by state and step: {resident}." if resident else "",
        "ADAM* is our reconstruction of the paper's rule.",
    ]
    return " ".join(filter(None, parts))
