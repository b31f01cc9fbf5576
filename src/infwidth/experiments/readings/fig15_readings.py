# SPDX-License-Identifier: Apache-2.0
"""Figure 15: a specification curve of the readings of ADAM*, with the board of choices."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from infwidth.drawing.layout import new_figure, small_print
from infwidth.drawing.style import SMALL_PRINT, TEXT_WIDTH, Look, look, paper_style
from infwidth.experiments.measured import Study
from infwidth.experiments.panels import margin_axis, margin_band, margin_of, notes, reported, short
from infwidth.experiments.readings.effects import ESTIMANDS, READINGS, cells_of, main_effects
from infwidth.stats.effects import Effect

LEVELS = {
    "steps": ("steps", "{0:,}", "{2:,}"),
    "vocabulary": ("text", "bytes", "subwords"),
    "layers": ("layers", "2", "4"),
    "readout_init": ("readout", "0", "N(0, 1)"),
    "activation": ("activation", "ReLU", "GELU"),
    "b2": ("β2", "0.98", "0.999"),
    "trunk_optimizer": ("all else", "Adam", "SGD"),
}
"""By factor its name, and its low and its high level; of steps, as the settings have them."""

_NAMES = {
    "ntk": "NTK (SGD)",
    "adam_star_global": "ADAM* (A): one v",
    "adam_star": "ADAM* (B): v by output",
    "adam_star_error": "ADAM* (C): v of errors",
    "adam_star_measured": "ADAM* (B) on measured\nscales (R)",
}
_HALF = Look("#333333", "_", "-")
_LEFT, _RIGHT, _GAP, _MAIN = 1.2, 0.12, 0.14, 1.3
_TOP, _CURVE, _ROW, _BETWEEN, _BOTTOM = 0.12, 2.1, 0.16, 0.1, 0.44
"""Inches: labels, margins, the gap and the panel of main effects; heights, from the top."""


@paper_style()
def draw(measured: Study) -> Figure:
    """Above: each reading less frozen features, by cell. Below: choices, and their main effects."""
    ran = reported(measured)
    shown = [name for name in ("ntk", *READINGS) if name in ran and "frozen" in ran]
    cells = {name: cells_of(measured, ESTIMANDS[f"{name}_minus_frozen"]) for name in shown}
    first = next((name for name in ("adam_star", *shown) if cells.get(name)), None)
    order = sorted(cells[first], key=lambda c: _finite(cells[first][c])) if first else []
    factors = list(measured.settings["readings"]["factors"])
    text = _print(measured)
    foot = small_print(new_figure(TEXT_WIDTH, 1.0), text)
    board_height = _ROW * len(factors)
    height = _TOP + _CURVE + _BETWEEN + board_height + _BOTTOM + foot
    figure = new_figure(TEXT_WIDTH, height)
    small_print(figure, text)

    def axes_at(left: float, right: float, bottom: float, tall: float) -> Axes:
        across = (TEXT_WIDTH - right - left) / TEXT_WIDTH
        return figure.add_axes((left / TEXT_WIDTH, bottom / height, across, tall / height))

    bottom = foot + _BOTTOM
    right = _RIGHT + _MAIN + _GAP
    curve = axes_at(_LEFT, right, bottom + board_height + _BETWEEN, _CURVE)
    board = axes_at(_LEFT, right, bottom, board_height)
    effects = axes_at(TEXT_WIDTH - _RIGHT - _MAIN, _RIGHT, bottom, board_height)
    _curve(curve, measured, order, cells)
    _board(board, measured, order, factors)
    _main_effects(effects, measured, factors, {n: cells[n] for n in shown if n != "ntk"})
    handles = [_handle(_NAMES.get(name, short(name)), look(name)) for name in shown]
    handles += [_handle("half of the NTK's gap", _HALF)] if "ntk" in shown else []
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(1 - (right - _GAP + 0.08) / TEXT_WIDTH, 1 - _TOP / height),
        frameon=False,
        borderaxespad=0,
        handlelength=1,
        handletextpad=0.3,
        fontsize=SMALL_PRINT + 0.5,
    )
    return figure


def _handle(name: str, style: Look) -> Line2D:
    return Line2D(
        [], [], label=name, color=style.color, marker=style.marker, markersize=4, linestyle=""
    )


def _curve(
    axes: Axes, measured: Study, order: Sequence[str], cells: Mapping[str, Mapping[str, Effect]]
) -> None:
    margin_band(axes, margin_of(measured))
    for k, (name, own) in enumerate(cells.items()):
        shift = 0.16 * (k - (len(cells) - 1) / 2)
        there = [column for column, cell in enumerate(order) if cell in own]
        intervals = [own[order[column]].interval(measured.confidence) for column in there]
        x = np.array(there) + shift
        ends = np.array([(i.lower, i.upper) for i in intervals]).reshape(-1, 2)
        axes.vlines(x, ends[:, 0], ends[:, 1], look(name).color, linewidth=0.8)
        axes.plot(
            x,
            [i.estimate for i in intervals],
            color=look(name).color,
            marker=look(name).marker,
            markersize=3.6,
            markeredgecolor="white",
            markeredgewidth=0.4,
            linestyle="",
        )
        if name == "ntk":
            half = [0.5 * i.estimate for i in intervals]
            axes.hlines(half, np.array(there) - 0.42, np.array(there) + 0.42, _HALF.color, lw=0.7)
    margin_axis(axes, margin_of(measured))
    axes.set_ylabel("test loss above frozen features\n(nats per token)")
    _columns(axes, len(order))
    axes.tick_params(axis="x", labelbottom=False, length=0)


def _columns(axes: Axes, count: int) -> None:
    axes.set_xlim(-0.6, max(count, 1) - 0.4)
    axes.set_xticks([])
    for column in range(1, count, 2):
        axes.axvspan(column - 0.5, column + 0.5, color="#f7f7f7", linewidth=0, zorder=-1)


def _board(axes: Axes, measured: Study, order: Sequence[str], factors: Sequence[str]) -> None:
    """A dot a choice: filled at the high level, open at the low one, grey at the centre."""
    faces = {-1: "white", 0: "#bbbbbb", 1: "#333333"}
    for column, cell in enumerate(order):
        for row, factor in enumerate(factors):
            face = faces[measured.conditions[cell]["factors"][factor]]
            axes.plot(
                column, row, "o", markersize=4, color="#333333", markerfacecolor=face, mew=0.6
            )
    _columns(axes, len(order))
    axes.set_ylim(len(factors) - 0.5, -0.5)
    steps = measured.settings["readings"]["steps"]
    names = [
        (each, *(e.format(*steps) for e in ends)) for each, *ends in (LEVELS[f] for f in factors)
    ]
    axes.set_yticks(range(len(factors)), [f"{n}: {low} ○ {high} ●" for n, low, high in names])
    axes.tick_params(axis="y", length=0, labelsize=6.5)
    axes.grid(False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xlabel(f"{len(order)} settings, sorted by ADAM* (B)", labelpad=4)


def _main_effects(
    axes: Axes, measured: Study, factors: Sequence[str], cells: Mapping[str, Mapping[str, Effect]]
) -> None:
    margin_band(axes, margin_of(measured), along_x=True)
    for k, (name, own) in enumerate(cells.items()):
        found = {e.where: e.interval(measured.confidence) for e in main_effects(measured, own)}
        for row, factor in enumerate(factors):
            if factor in found:
                y = row + 0.2 * (k - (len(cells) - 1) / 2)
                interval, style = found[factor], look(name)
                if math.isfinite(interval.lower):
                    axes.hlines(y, interval.lower, interval.upper, style.color, linewidth=0.8)
                axes.plot(
                    interval.estimate, y, marker=style.marker, color=style.color, markersize=2.6
                )
    axes.set_ylim(len(factors) - 0.5, -0.5)
    axes.set_yticks([])
    axes.grid(False)
    axes.grid(True, axis="x")
    axes.tick_params(axis="x", labelsize=6.5)
    axes.locator_params(axis="x", nbins=4)
    axes.set_xlabel("main effect, ● less ○")


def _finite(effect: Effect) -> float:
    return effect.estimate if math.isfinite(effect.estimate) else math.inf


def _print(measured: Study) -> str:
    own = measured.settings["readings"]
    return " ".join(
        [
            f"H = {own['width']:,}; all tuned in every setting"
            + (
                " (a plan of resolution IV, and a centre, grey)."
                if len(own["factors"]) == 7
                else "."
            ),
            "The axis is linear within the margin (grey) and logarithmic beyond; errors are pooled "
            "over settings. Below the dash a reading closes more than half of the gap between NTK "
            "and frozen.",
            notes(measured, own["seeds"]),
        ]
    )
