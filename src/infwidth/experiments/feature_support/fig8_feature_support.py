# SPDX-License-Identifier: Apache-2.0
"""Figure 8: errors over width where Ω is not totally supported, against the population residual."""

from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import FixedLocator

from infwidth.drawing.curves import log_width_axes
from infwidth.drawing.layout import (
    EndLabel,
    end_labels,
    label_width,
    new_figure,
    set_margins,
    small_print,
)
from infwidth.drawing.style import TEXT_WIDTH, Look, paper_style
from infwidth.experiments.feature_support.measured import FeatureSupport, Readout

_LOOKS = {
    "total": Look("#000000", "o", "-"),
    "total_plane": Look("#777777", "<", (0, (4, 1.5))),
    "subspace": Look("#0072B2", "s", "-"),
    "cone": Look("#D55E00", "^", "-"),
    "cone_erf": Look("#E69F00", "v", (0, (2, 1))),
    "atoms": Look("#009E73", "D", "-"),
}
_QUANTISED = (
    Look("#CC79A7", "P", "-"),
    Look("#8C564B", "X", (0, (5, 1, 1, 1))),
    Look("#56B4E9", ">", (0, (1, 1))),
)
_LABELS = {
    "total": "total",
    "total_plane": "total, plane",
    "subspace": "subspace, plane",
    "cone": "cone",
    "cone_erf": "cone, erf",
    "atoms": "atoms",
}
_TARGET = "#b5b5b5"
_RESIDUAL = (0, (1, 2))
_LOWEST = 3e-4
"""Errors below this are as good as none, and would take the room of the others."""

_PANELS: dict[Readout, str] = {"best": "best readout", "adam_star": "trained by ADAM*"}


def label(case: str) -> str:
    """A case in a few words."""
    kind, _, levels = case.partition("quantised_")
    return _LABELS[case] if kind else f"{levels} levels"


@paper_style()
def draw(measured: FeatureSupport) -> Figure:
    """Above: functions on the line. Below: errors over width, and residuals."""
    figure = new_figure(TEXT_WIDTH, 4.5)
    quantised = [case for case in measured.cases if case not in _LOOKS]
    looks = _LOOKS | dict(zip(quantised, cycle(_QUANTISED), strict=False))
    # At most four cases on the line, those that leave something out and their analytic twin.
    line = set(measured.measured.tables["functions"]["case"])
    shown = [case for case in measured.cases if case in line and case != "total"][:4] or ["total"]
    grid = GridSpec(2, 2 * len(shown), figure=figure, height_ratios=(1, 2))
    above = [figure.add_subplot(grid[0, 2 * k : 2 * k + 2]) for k in range(len(shown))]
    below = [figure.add_subplot(grid[1, : len(shown)]), figure.add_subplot(grid[1, len(shown) :])]
    for axes, case in zip(above, shown, strict=True):
        _function(axes, measured, case, looks[case])
        if axes is not above[0]:
            axes.tick_params(labelleft=False)
    above[0].set_ylabel("function")
    *_, labels = (
        _errors(axes, measured, readout, looks)
        for axes, readout in zip(below, _PANELS, strict=True)
    )
    below[1].tick_params(labelleft=False)
    below[0].set_ylabel("error (share of variance)")
    foot = small_print(figure, _print(measured))
    right = label_width(figure, labels)
    set_margins(figure, right, 0.24, foot + 0.42, column_gap=0.08, row_gap=0.62)
    end_labels(below[1], labels)
    return figure


def _function(axes: Axes, measured: FeatureSupport, case: str, style: Look) -> None:
    table = measured.rows("functions", case=case)
    axes.plot(table["x"], table["target"], color=_TARGET, linewidth=3)
    axes.plot(table["x"], table["best"], color=style.color, linewidth=1.2)
    axes.plot(table["x"], table["adam_star"], color="black", linewidth=0.6)
    axes.set_title(label(case), loc="left", pad=3, color=style.ink)
    axes.set_xlabel("$x$", labelpad=1)
    axes.xaxis.set_major_locator(FixedLocator([-2, 0, 2]))
    axes.yaxis.set_major_locator(FixedLocator([-2, 0, 2]))
    axes.set_ylim(-3.6, 2.6)


def _errors(
    axes: Axes, measured: FeatureSupport, readout: Readout, looks: dict[str, Look]
) -> list[EndLabel]:
    labels: list[EndLabel] = []
    widths: list[int] = []
    for case in measured.cases:
        style, cells = looks[case], measured.curve(case, readout)
        widths = [cell.width for cell in cells]
        error = [cell.error for cell in cells]
        residual = measured.residual(case)
        if residual > _LOWEST:
            axes.axhline(residual, color=style.color, linewidth=0.7, linestyle=_RESIDUAL)
        axes.plot(
            widths,
            error,
            color=style.color,
            marker=style.marker,
            linestyle=style.line,
            markersize=3.5,
            markeredgecolor="white",
            markeredgewidth=0.3,
        )
        least, most = [cell.least for cell in cells], [cell.most for cell in cells]
        axes.fill_between(widths, least, most, color=style.color, alpha=0.15, linewidth=0)
        labels.append(EndLabel(max(error[-1], _LOWEST), label(case), style.ink))
    axes.set_title(_PANELS[readout], loc="left", pad=3)
    log_width_axes(axes, widths, most_ticks=3)
    axes.set_ylim(_LOWEST, 1.5)
    return labels


def _print(measured: FeatureSupport) -> str:
    widest, seeds = max(measured.settings["widths"]), len(measured.settings["seeds"])
    parts = [
        f"Above: target (grey), best readout (colour) and ADAM*'s (black) at H = {widest:,}, one "
        "seed. Below: dotted, the population residual, which no width removes; bands, the range of "
        f"{seeds} seeds."
    ]
    names: dict[Readout, str] = {"best": "The best readout", "adam_star": "ADAM*"}
    for readout, name in names.items():
        away = [label(c) for c in measured.cases if not measured.levels_off(c, readout)]
        margin = f"{measured.margin(readout):g} ({measured.confidence:.0%})"
        where = f", but for {'; '.join(away)}." if away else " in every case."
        parts.append(f"{name} is at the residual within {margin}{where}")
    parts.append(f"ADAM* ({measured.steps:,} steps) is our reconstruction of the paper's rule.")
    return " ".join(parts)
