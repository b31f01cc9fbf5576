# SPDX-License-Identifier: Apache-2.0
"""Figure 16: what one fixed scale for each feature does, over widths, and its controls."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infwidth.config.variants import ALL_VARIANTS
from infwidth.drawing.layout import key, new_figure, set_margins, small_print
from infwidth.drawing.style import TEXT_WIDTH, Look, look, paper_style
from infwidth.experiments.measured import Study
from infwidth.experiments.panels import (
    Series,
    difference_point,
    lines,
    margin_axis,
    margin_band,
    margin_of,
    notes,
)
from infwidth.experiments.scales.effects import KERNEL_RULES
from infwidth.experiments.scales.plan import OTHER, PLAIN, WIDE
from infwidth.stats.statistics import Interval

_RULES = (*KERNEL_RULES, "frozen")
_NAMES = {"ntk": "SGD", "adam_star": "ADAM*", "muon_star": "Muon", "frozen": "Adam"}
_MEASURED = "_measured"
_NONE = Interval(math.nan, math.nan, math.nan)
_RIGHT, _ROW, _ABOVE = 0.12, 0.15, 1.6
"""Inches: the margin, a row of the controls, and the height of the panels above."""


@paper_style()
def draw(measured: Study) -> Figure:
    """Above: every rule less Adam on frozen features, by width. Below: controls of the scales."""
    rows = [
        name
        for name, condition in measured.conditions.items()
        if name not in (PLAIN, WIDE, OTHER) and condition["arms"]
    ]
    widths = sorted({width for name in rows for width in measured.widths(name)})
    columns = max(1 + (OTHER in measured.conditions), len(widths))
    # A row more: plain features, which the scales are there to better.
    below = _ROW * (len(rows) + 1)
    text = _print(measured, rows)
    foot = small_print(new_figure(TEXT_WIDTH, 1.0), text)
    top, gap, bottom = 0.46, 0.72, foot + 0.42
    figure = new_figure(TEXT_WIDTH, top + _ABOVE + (gap + below if rows else 0) + bottom)
    small_print(figure, text)
    grid = figure.subplots(
        1 + bool(rows), columns, squeeze=False, height_ratios=[_ABOVE, below][: 1 + bool(rows)]
    )
    _over_widths(grid[0, 0], measured, (PLAIN, WIDE), "as in fig. 1")
    if OTHER in measured.conditions:
        _over_widths(grid[0, 1], measured, (OTHER,), measured.conditions[OTHER]["label"])
    grid[0, 0].set_ylabel("test loss above Adam's on\nplain features (nats per token)")
    for column, width in enumerate(widths):
        _controls(grid[1, column], measured, rows, width)
        if column:
            grid[1, column].set_yticklabels([])
    for axes in grid.flat:
        if not axes.has_data():
            axes.remove()
    set_margins(figure, _RIGHT, top, bottom, column_gap=0.45, row_gap=gap)
    ran = {variant for variant, _ in measured.conditions[PLAIN]["arms"]}
    names = [(_NAMES[rule], look(rule)) for rule in _RULES if {rule, rule + _MEASURED} & ran]
    key(figure, figure.get_figheight() - 0.12, _RIGHT, names)
    return figure


def _over_widths(axes: Axes, measured: Study, conditions: Sequence[str], title: str) -> None:
    at = {
        width: name
        for name in conditions
        if name in measured.conditions
        for width in measured.widths(name)
    }
    widths = sorted(at)

    def interval(variant: str, width: int) -> Interval:
        if not measured.ran(at[width], (variant, "frozen"), width):
            return _NONE
        weights = {(at[width], variant, width): 1, (at[width], "frozen", width): -1}
        return measured.contrast("", weights).interval(measured.confidence)

    series = []
    for rule in _RULES:
        for variant, line in ((rule, (0, (2, 1.5))), (rule + _MEASURED, "-")):
            intervals = [interval(variant, width) for width in widths]
            if variant != "frozen" and any(math.isfinite(i.estimate) for i in intervals):
                style = Look(look(rule).color, look(rule).marker, line)
                series.append(Series(style, intervals, variant == rule))
    lines(axes, widths, series)
    margin_band(axes, margin_of(measured))
    margin_axis(axes, margin_of(measured))
    axes.set_title(title, loc="left", pad=4)
    axes.set_xlabel("MLP width $H$")


def _controls(axes: Axes, measured: Study, rows: Sequence[str], width: int) -> None:
    """By control, a rule's loss less that on the scales as they are, measured before training."""
    margin_band(axes, margin_of(measured), along_x=True)
    variants = sorted(
        {v for name in rows for v, at in measured.conditions[name]["arms"] if at == width},
        key=list(ALL_VARIANTS).index,
    )
    for k, variant in enumerate(variants):
        rule = variant.removesuffix(_MEASURED)
        as_is = (PLAIN, variant, width)
        cells = [(PLAIN, rule, width), *((name, variant, width) for name in rows)]
        for row, cell in enumerate(cells):
            if all(measured.ran(name, [each], at) for name, each, at in (cell, as_is)):
                effect = measured.contrast("", {cell: 1, as_is: -1})
                y = row + 0.26 * (k - (len(variants) - 1) / 2)
                difference_point(axes, effect.interval(measured.confidence), y, look(rule))
    labels = ["plain features", *(measured.conditions[name]["label"] for name in rows)]
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, labelsize=6.5)
    axes.grid(False)
    axes.grid(True, axis="x")
    axes.set_title(f"controls, H = {width:,}", loc="left", pad=4)
    axes.set_xlabel("test loss above that on the scales")


def _print(measured: Study, rows: Sequence[str]) -> str:
    own = measured.settings["scales"]
    parts = [
        "Open: plain features. Filled: features divided by scales that are measured before "
        "training and then fixed. Upper axes are linear within the margin (grey) and "
        "logarithmic beyond.",
        f"Controls on {len(own['control_seeds'])} seeds: one change of the scales each."
        if rows
        else "",
        notes(measured, own["seeds"]),
    ]
    return " ".join(filter(None, parts))
