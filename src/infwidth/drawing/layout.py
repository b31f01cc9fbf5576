# SPDX-License-Identifier: Apache-2.0
"""Placing things: margins by inch, labels at the ends of lines, small print, ticks.

All is deterministic. A figure is laid out in this order: data, limits, then what `finish` does:
`small_print`, `set_margins`, `end_labels`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from infwidth.drawing.style import LABEL, SMALL_PRINT, Look

_POINT = 1 / 72


class EndLabel(NamedTuple):
    """A label that belongs at a height of the y axis; its line ends at x, by default the edge."""

    y: float
    text: str
    color: object
    x: float | None = None


def spread(
    positions: Sequence[float], gap: float, low: float = -1e300, high: float = 1e300
) -> list[float]:
    """Moves positions apart to at least `gap`, by the least sum of squared moves.

    Order is kept (ties by index), and where there is room all stay within [low, high]. With
    z_i = y_i − i·gap the condition is that z does not fall, so this is isotonic regression: pool
    neighbours that are out of order, each pool at its mean. Too many go beyond `high` rather than
    overlap.
    """
    order = sorted(range(len(positions)), key=lambda i: (positions[i], i))
    pools: list[tuple[float, int]] = []
    for rank, i in enumerate(order):
        pools.append((positions[i] - rank * gap, 1))
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (first, m), (second, n) = pools[-2:]
            pools[-2:] = [((m * first + n * second) / (m + n), m + n)]
    ceiling = max(high - (len(order) - 1) * gap, low)
    levels = [min(max(mean, low), ceiling) for mean, size in pools for _ in range(size)]
    placed = [0.0] * len(order)
    for rank, i in enumerate(order):
        placed[i] = levels[rank] + rank * gap
    return placed


def new_figure(width: float, height: float) -> Figure:
    """A figure of that many inches that can measure its text, without any global state."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def text_size(figure: Figure, text: str, size: float) -> tuple[float, float]:
    """Width and height of a text in inches."""
    probe = figure.text(0, 0, text, fontsize=size)
    box = probe.get_window_extent(figure.canvas.get_renderer())  # type: ignore[attr-defined]
    probe.remove()
    return box.width / figure.dpi, box.height / figure.dpi


def set_margins(
    figure: Figure,
    right: float,
    top: float,
    bottom: float,
    column_gap: float = 0.0,
    row_gap: float = 0.0,
) -> None:
    """Lays the figure's one grid of axes out in inches; their limits are final.

    The left margin is what the y axes' texts take.
    """
    left = 0.7  # a first guess, to measure in
    for _ in range(2):
        _place(figure, (left, right, top, bottom), column_gap, row_gap)
        left = 0.06 + max(map(_room_left, figure.axes))
    _place(figure, (left, right, top, bottom), column_gap, row_gap)


def _place(
    figure: Figure, margins: tuple[float, float, float, float], column_gap: float, row_gap: float
) -> None:
    left, right, top, bottom = margins
    width, height = figure.get_size_inches()
    spec = figure.axes[0].get_subplotspec()
    rows, columns = spec.get_gridspec().get_geometry() if spec else (1, 1)
    panel_width = (width - left - right - (columns - 1) * column_gap) / columns
    panel_height = (height - top - bottom - (rows - 1) * row_gap) / rows
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=bottom / height,
        top=1 - top / height,
        wspace=column_gap / panel_width,
        hspace=row_gap / panel_height,
    )


def _room_left(axes: Axes) -> float:
    """Inches that the y axis with its texts takes, for axes of the first column."""
    spec = axes.get_subplotspec()
    if spec is not None and not spec.is_first_col():
        return 0.0
    box = axes.yaxis.get_tightbbox(axes.figure.canvas.get_renderer())  # type: ignore[attr-defined]
    return 0.0 if box is None else (axes.get_window_extent().x0 - box.x0) / axes.figure.dpi


def label_width(figure: Figure, labels: Sequence[EndLabel], size: float = LABEL) -> float:
    """Inches to leave to the right of an axes for its end labels and their leaders."""
    widest = max((text_size(figure, label.text, size)[0] for label in labels), default=0.0)
    return widest + _LEADER + 0.06


_LEADER = 0.16
"""Inches from the axes' right edge to the labels."""


def end_labels(axes: Axes, labels: Sequence[EndLabel], size: float = LABEL) -> list[Text]:
    """Writes each label to the right of all lines at its height, moved where two would overlap.

    A thin leader joins the end of the line with the label. Limits and margins must be final.
    """
    if not labels:
        return []
    figure = axes.figure
    dpi = figure.dpi
    box = axes.get_window_extent()
    low, high = axes.get_ylim()
    edge = axes.get_xlim()[1]
    ends = [
        axes.transData.transform(
            (edge if label.x is None else label.x, min(max(label.y, low), high))
        )
        for label in labels
    ]
    wanted = [end[1] for end in ends]
    gap = (size + 1.5) * _POINT * dpi
    placed = spread(wanted, gap, box.y0, box.y1)
    starts = [(end[0] - box.x0) / box.width for end in ends]
    right = max(starts)
    texts = []
    for label, left, start, end in zip(labels, starts, wanted, placed, strict=True):
        heights = [(y - box.y0) / box.height for y in (start, start, end, end)]
        inches = [0.05, _LEADER - 0.05, _LEADER - 0.02]
        across = [left + 0.02 * dpi / box.width, *(right + x * dpi / box.width for x in inches)]
        leader: dict[str, Any] = {"transform": axes.transAxes, "linewidth": 0.5, "clip_on": False}
        axes.plot(across, heights, color=label.color, **leader)
        texts.append(
            axes.text(
                right + _LEADER * dpi / box.width,
                heights[-1],
                label.text,
                transform=axes.transAxes,
                color=label.color,
                fontsize=size,
                va="center_baseline",
                ha="left",
                # Inside the axes a level may run behind it.
                bbox=None
                if label.x is None
                else {"facecolor": "white", "pad": 0.4, "linewidth": 0},
            )
        )
    return texts


def small_print(
    figure: Figure, text: str | Iterable[str], left: float = 0.08, bottom: float = 0.05
) -> float:
    """Writes a note at the foot of the figure, wrapped to its width; returns its height in inches.

    Of sentences those that are empty are left out. Margins, left and right alike, are in inches.
    """
    text = text if isinstance(text, str) else " ".join(filter(None, text))
    width, height = figure.get_size_inches()
    lines: list[str] = []
    # Letters are hinted to pixels, so that a line's width depends on the resolution.
    drawn_at, figure.dpi = figure.dpi, mpl.rcParams["savefig.dpi"]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_size(figure, longer, SMALL_PRINT)[0] <= 0.98 * (width - 2 * left):
            lines[-1] = longer
        else:
            lines.append(word)
    figure.dpi = drawn_at
    step = 1.25 * SMALL_PRINT * _POINT
    for row, line in enumerate(lines):
        figure.text(
            left / width,
            (bottom + (len(lines) - 1 - row) * step) / height,
            line,
            fontsize=SMALL_PRINT,
            color="#555555",
            va="bottom",
        )
    return bottom + len(lines) * step


def finish(
    figure: Figure,
    note: str | Iterable[str],
    labels: Mapping[Axes, Sequence[EndLabel]] | None = None,
    *,
    right: float | None = None,
    top: float = 0.24,
    bottom: float = 0.42,
    column_gap: float = 0.0,
    row_gap: float = 0.0,
    size: float = LABEL,
) -> None:
    """Writes the small print, sets the margins, and puts labels to the right of their axes.

    Lengths are in inches, `bottom` from the small print; `right` is by default what the labels
    take. Limits must be final.
    """
    labels = labels or {}
    foot = small_print(figure, note)
    if right is None:
        right = label_width(figure, [each for some in labels.values() for each in some], size)
    set_margins(figure, right, top, foot + bottom, column_gap, row_gap)
    for axes, some in labels.items():
        end_labels(axes, some, size)


def key(
    figure: Figure, y: float, right: float, names: Sequence[tuple[str, Look]], lines: bool = False
) -> None:
    """Names with their markers in one line, at height y and with a right margin, inches.

    With `lines` a piece of each line runs through its marker.
    """
    across, height = figure.get_size_inches()
    reach, gap = (0.11, 0.04) if lines else (0.05, 0.01)
    widths = [text_size(figure, n, SMALL_PRINT)[0] + 0.09 + gap + 2 * reach for n, _ in names]
    x = across - right - sum(widths)
    for (name, style), width in zip(names, widths, strict=True):
        places = (x, x + reach, x + 2 * reach) if lines else (x + reach,)
        marker = Line2D(
            [place / across for place in places],
            [y / height] * len(places),
            marker=style.marker,
            markevery=[len(places) // 2],
            color=style.color,
            markersize=4,
            linewidth=0.9,
            linestyle=style.line if lines else "",  # type: ignore[arg-type]
        )
        figure.add_artist(marker)
        place = ((x + 2 * reach + gap) / across, y / height)
        figure.text(*place, name, color=style.ink, fontsize=SMALL_PRINT, va="center_baseline")
        x += width


def fine_log_axis(axes: Axes) -> None:
    """A logarithmic y axis with ticks at 1, 2 and 5 of every decade."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))


def width_axis(
    axes: Axes,
    limits: tuple[float, float],
    ticks: Iterable[float],
    label: str = "MLP width $H$",
    names: Mapping[float, str] | None = None,
) -> None:
    """A logarithmic x axis of widths; `names` are of ticks that are no number, such as ∞."""
    named = names or {}
    axes.set_xscale("log", base=2)
    axes.set_xlim(*limits)
    axes.xaxis.set_major_locator(FixedLocator(list(ticks)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: named.get(x, f"{x:,.0f}")))
    axes.set_xlabel(label)
