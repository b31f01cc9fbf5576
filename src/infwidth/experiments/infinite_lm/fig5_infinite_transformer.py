# SPDX-License-Identifier: Apache-2.0
"""Figure 5: the transformer whose MLPs are infinitely wide, and finite ones that come close."""

import math

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import rgb2hex
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

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
from infwidth.drawing.style import SMALL_PRINT, TEXT_WIDTH, Look, look, paper_style
from infwidth.experiments.infinite_lm.measured import InfiniteLm

SHOWN_FROM = 0.2
"""The axes of the curves are scaled to what comes after this share of the run."""

_OCTAVES_TO_INFINITY = 1.5
"""How far right of the largest width infinity stands."""

_INFINITE = Look("#000000", "", (0, (4, 1.5)))
"""The curve of the infinite model."""


@paper_style()
def draw(measured: InfiniteLm) -> Figure:
    """Distance and final loss over width; below, loss curves less the infinite one."""
    rules = measured.infinite_variants
    columns = max(2, len(rules))
    rows = 2 if rules else 1
    figure = new_figure(TEXT_WIDTH, 1.25 + 1.6 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in [*grid[0, 1:-1], *grid[1:, len(rules) :].flat]:
        axes.remove()
    _gaps(grid[0, 0], measured)
    labels = [(grid[0, -1], _losses(grid[0, -1], measured))]
    if rules:
        last = len(rules) - 1
        ends = [_curves(grid[1, column], measured, name) for column, name in enumerate(rules)]
        labels.append((grid[1, last], ends[last]))
        _same_limits(grid[1, : last + 1])
        grid[1, 0].set_ylabel("training loss − loss at $\\infty$\n(nats per token)")
    foot = small_print(figure, _print(measured))
    right = label_width(figure, [label for _, some in labels for label in some])
    figure.align_ylabels(grid[:, 0])
    set_margins(figure, right, 0.24, foot + 0.42, column_gap=0.64, row_gap=0.58)
    for axes, wanted in labels:
        end_labels(axes, wanted)
    return figure


def _gaps(axes: Axes, measured: InfiniteLm) -> None:
    """Mean distance of a finite loss curve from the infinite one, over width."""
    for name in measured.infinite_variants:
        widths = measured.finite_widths(name)
        gaps = [measured.gap(name, width) for width in widths]
        style = look(name)
        lower, upper = (np.array([getattr(gap, end) for gap in gaps]) for end in ("lower", "upper"))
        mean = np.array([gap.estimate for gap in gaps])
        # An interval that reaches 0 has no lower end on a log axis.
        axes.fill_between(
            widths, np.maximum(lower, mean / 10), upper, color=style.color, alpha=0.16, linewidth=0
        )
        _line(axes, widths, mean, style, VARIANTS[name].label)
    if measured.infinite_variants:
        axes.legend(loc="lower left", fontsize=SMALL_PRINT, frameon=False, handlelength=2.4)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(_at_2_and_5))
    axes.set_ylabel("mean |loss − loss at $\\infty$|\n(nats per token)")
    axes.set_title("distance of loss curves", loc="left", pad=3)
    _width_axis(axes, measured.finite_widths())


def _losses(axes: Axes, measured: InfiniteLm) -> list[EndLabel]:
    """Final loss of every variant over width; where it is known at infinity, a marker there.

    Bars leave out what a seed's models share, which moves all of them together.
    """
    half = measured.half_width()
    finite = measured.finite_widths()
    infinity = finite[-1] * 2**_OCTAVES_TO_INFINITY
    labels = []
    for name in measured.variants:
        style = look(name)
        widths = measured.widths(name)
        losses = [measured.test_loss(name, width) for width in widths]
        mean = np.array([loss.estimate for loss in losses])
        if name == "constant":
            axes.axhline(mean[0], color=style.color, linestyle=style.line)
        else:
            x = np.array([min(width, infinity) for width in widths])
            known = np.isfinite(widths)
            if math.isfinite(half):
                axes.vlines(x, mean - half, mean + half, style.color, linewidth=0.6, alpha=0.6)
            _line(axes, x[known], mean[known], style)
            if not known.all():
                axes.plot(x[-2:], mean[-2:], color=style.color, linestyle=":", linewidth=0.7)
                axes.plot(
                    x[-1], mean[-1], color=style.color, marker=style.marker, markerfacecolor="white"
                )
        shown = mean[np.isfinite(mean)]
        if shown.size:
            mark = " †" if name in measured.not_interior() else ""
            labels.append(EndLabel(float(shown[-1]), VARIANTS[name].label + mark, style.ink))
    axes.set_ylabel("final test loss\n(nats per token)")
    axes.set_title("final loss", loc="left", pad=3)
    _width_axis(axes, finite, infinity if measured.infinite_variants else None)
    return labels


def _curves(axes: Axes, measured: InfiniteLm, name: str) -> list[EndLabel]:
    """Loss curves of one rule less the infinite one's, mean over seeds."""
    infinite = measured.curves(name, math.inf)
    widths = measured.finite_widths(name)
    shades = np.linspace(0.85, 0.25, len(widths))
    labels = []
    for width, shade in zip(widths, shades, strict=True):
        style = Look(rgb2hex(mpl.colormaps["viridis"](shade)), "", "-")
        difference = (measured.curves(name, width) - infinite).dropna(axis=1, how="all").dropna()
        mean = difference.mean(axis=1)
        axes.plot(mean.index, mean, color=style.color, linestyle=style.line, linewidth=0.9)
        if len(mean):
            labels.append(EndLabel(float(mean.iloc[-1]), f"$H$ = {width:,}", style.ink))
    axes.axhline(0, color=_INFINITE.color, linestyle=_INFINITE.line, linewidth=0.9)
    labels.append(EndLabel(0.0, "$H = \\infty$", _INFINITE.ink))
    axes.set_xlabel("training step")
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set_xlim(0, infinite.index[-1])
    _late_limits(axes, SHOWN_FROM * infinite.index[-1])
    axes.set_title(VARIANTS[name].label, loc="left", pad=3)
    return labels


def _line(
    axes: Axes, x: np.ndarray | list[int], y: np.ndarray, style: Look, label: str = ""
) -> None:
    axes.plot(
        x,
        y,
        label=label,
        color=style.color,
        marker=style.marker,
        linestyle=style.line,
        markeredgecolor="white",
        markeredgewidth=0.4,
    )


def _width_axis(axes: Axes, widths: list[int], infinity: float | None = None) -> None:
    ticks = [*map(float, widths), *([infinity] if infinity else [])]
    names = {infinity: "∞"} if infinity else {}
    width_axis(axes, (ticks[0] / 1.4, ticks[-1] * 1.4), ticks, names=names)


def _at_2_and_5(y: float, _: int) -> str:
    return f"{y:g}" if f"{y:.0e}"[0] in "25" else ""


def _late_limits(axes: Axes, first_step: float) -> None:
    """Limits that fit what comes after a step."""
    late: list[float] = []
    for line in axes.get_lines():
        x, y = (np.asarray(data, float) for data in line.get_data())
        if x.size > 2:
            late += y[(x >= first_step) & np.isfinite(y)].tolist()
    if late:
        low, high = min(late), max(late)
        pad = max(0.06 * (high - low), 1e-4)
        axes.set_ylim(low - pad, high + pad)


def _same_limits(panels: np.ndarray) -> None:
    """One scale for a row, written once."""
    limits = [axes.get_ylim() for axes in panels]
    for axes in panels:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    for axes in panels[1:]:
        axes.tick_params(labelleft=False)


def _print(measured: InfiniteLm) -> str:
    own, model = measured.settings["infinite_lm"], measured.settings["model"]
    tokens = own["batch_size"] * model["context"]
    count, lost = len(measured.seeds), measured.diverged()
    seeds = "one seed" if count == 1 else f"{count} seeds"
    reasons: dict[str, list[str]] = {}
    for name, note in measured.not_interior().items():
        reasons.setdefault(note, []).append(VARIANTS[name].label)
    parts = [
        f"{own['steps']:,} steps of {tokens:,} tokens, {model['layers']} layers, $D$ = "
        f"{model['d_model']}, {seeds}; rates tuned at $H$ = {own['reference_width']:,}.",
        f"Bands and bars: {measured.confidence:.0%} t intervals; bars without what a seed's "
        "models share."
        if count > 1
        else "",
        f"{lost} reported {'run' if lost == 1 else 'runs'} diverged." if lost else "",
        *(f"† Not interior, {note}: {'; '.join(names)}." for note, names in reasons.items()),
        "ADAM* is our reconstruction of the paper's rule."
        if any(VARIANTS[name].readout == "adam_star" for name in measured.variants)
        else "",
        f"Corpus: {measured.settings['corpus']}.",
    ]
    return " ".join(filter(None, parts))
