# SPDX-License-Identifier: Apache-2.0
"""Figure 4: finite models on their way to the exact infinite one, and where Adam goes."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infwidth.drawing.curves import banded, half_power_guide, small_key, step_axis
from infwidth.drawing.layout import fine_log_axis, new_figure, set_margins, small_print, width_axis
from infwidth.drawing.style import TEXT_WIDTH, Look, look, paper_style
from infwidth.drawing.table import plus_minus
from infwidth.experiments.convergence.measured import (
    ADAM,
    KERNEL_RULES,
    Convergence,
    geometric_mean,
    root,
)

LABEL_SIZE = 6.5

_line = partial(banded, alpha=0.2)
_key = partial(
    small_key, size=LABEL_SIZE, title_fontsize=LABEL_SIZE, handlelength=2.6, alignment="left"
)

SPLIT = "test"

LOOKS: dict[str, Look] = {
    "sgd": look("ntk"),
    "momentum": Look("#8C564B", "X", (0, (3, 1, 1, 1, 1, 1))),
    "adam_star": look("adam_star"),
    "adam": look("frozen"),
}
"""SGD, ADAM* and elementwise Adam look as the variants that they train."""


@paper_style()
def draw(measured: Convergence) -> Figure:
    """Distance over width and over steps, losses, and elementwise Adam."""
    figure = new_figure(TEXT_WIDTH, 4.6)
    grid = figure.subplots(2, 2)
    panels = {
        grid[0, 0]: ("(a) distance from the limit, over width", _over_width),
        grid[0, 1]: ("(b) relative distance, over steps", _over_steps),
        grid[1, 0]: ("(c) loss, over width", _losses),
        grid[1, 1]: ("(d) where elementwise Adam goes", _adam),
    }
    for axes, (title, panel) in panels.items():
        panel(axes, measured)
        axes.set_title(title, loc="left", pad=5)
    foot = small_print(figure, _print(measured))
    set_margins(figure, 0.1, 0.24, foot + 0.4, column_gap=0.62, row_gap=0.68)
    return figure


def _over_width(axes: Axes, measured: Convergence) -> None:
    for rule, name in KERNEL_RULES.items():
        distances = measured.distances(rule, SPLIT)
        means = [geometric_mean(distances[w], measured.confidence) for w in measured.widths]
        slope = measured.slope(rule, SPLIT).mean
        _line(axes, measured.widths, means, LOOKS[rule], f"{name}: {plus_minus(slope, 3)}")
    fine_log_axis(axes)
    _width_axis(axes, measured)
    # The slope that the theory has, above the curves, where it is fitted.
    fitted = measured.fitted_widths
    first = [measured.distances(rule, SPLIT)[fitted[0]] for rule in KERNEL_RULES]
    start = 1.8 * max(float(np.nanmax(distance_R)) for distance_R in first)
    half_power_guide(axes, fitted, start, LABEL_SIZE)
    _key(axes, "lower left", title="slope")
    _room_below(axes, 0.12)
    axes.set_ylabel("rms distance of outputs")


def _over_steps(axes: Axes, measured: Convergence) -> None:
    """Every kernel rule, at the first fitted width and at the largest."""
    steps = measured.steps
    for width, face in ((measured.fitted_widths[0], "white"), (measured.widths[-1], None)):
        for rule in KERNEL_RULES:
            means = []
            for step in steps:
                size = measured.limit(rule, SPLIT, "rms_outputs", step)
                relative_R = measured.distances(rule, SPLIT, step)[width] / size
                means.append(geometric_mean(relative_R, measured.confidence))
            name = f"$H$ = {width:,}" if rule == "adam_star" else "_"
            _line(axes, steps, means, LOOKS[rule], name, face=face)
    step_axis(axes)
    fine_log_axis(axes)
    _key(axes, "best")
    axes.set_ylabel("rms distance / rms of the limit")


def _losses(axes: Axes, measured: Convergence) -> None:
    for rule, name in {**KERNEL_RULES, "adam": ADAM}.items():
        means = [measured.loss(rule, SPLIT, width) for width in measured.widths]
        _line(axes, measured.widths, means, LOOKS[rule], name)
        if rule in KERNEL_RULES:
            limit = measured.limit(rule, SPLIT, "loss")
            axes.axhline(limit, color=LOOKS[rule].color, linewidth=0.7, linestyle=(0, (1, 1.5)))
    _width_axis(axes, measured)
    _key(axes, "best")
    axes.set_ylabel("test loss (nats)")


def _adam(axes: Axes, measured: Convergence) -> None:
    """To a limit of its own, and not to ADAM*'s."""
    widths = measured.widths
    gap = [root(measured.gap("adam", width, SPLIT, "centred")) for width in widths]
    # Where it is negative there is no point on a logarithmic axis.
    gap = [replace(each, estimate=each.estimate or math.nan) for each in gap]
    _line(axes, widths, gap, LOOKS["adam"], "mean Adam to ADAM*'s limit")
    star = [measured.from_star("adam_star", width, SPLIT, "centred") for width in widths]
    _line(axes, widths, star, LOOKS["adam_star"], "ADAM* to its limit")
    own = measured.adam_distances("widest", SPLIT, "centred")
    if not own.empty:
        means = [geometric_mean(own[width], measured.confidence) for width in widths]
        # Nearly on the line before, whose markers are to be seen through these.
        _line(axes, widths, means, LOOKS["adam"], "Adam to its own limit", face="none")
    fine_log_axis(axes)
    _width_axis(axes, measured)
    _key(axes, "best")
    _room_below(axes, 0.22)
    axes.set_ylabel("rms distance, centred outputs")


def _width_axis(axes: Axes, measured: Convergence) -> None:
    widths = measured.widths
    # Every second width is named, from the largest down, or numbers would meet.
    ticks = widths[::-1][:: 2 if len(widths) > 5 else 1]
    width_axis(axes, (widths[0] / 1.25, widths[-1] * 1.25), ticks, "width $H$")


def _room_below(axes: Axes, share: float) -> None:
    """Lowers the end of a logarithmic axis by a share of its span, for the key."""
    low, high = axes.get_ylim()
    axes.set_ylim(low * (low / high) ** share, high)


def _print(measured: Convergence) -> str:
    confidence, seeds = f"{measured.confidence:.0%}", len(measured.seeds)
    spread = f"Bands: {confidence} intervals over {seeds} seeds." if seeds > 1 else "One seed."
    return " ".join(
        [
            f"scikit-learn's digits, {measured.steps[-1]} steps, test images. (a, b) Distance from "
            "the exact kernel machine on the same batches; slope: of log distance on log width "
            f"from H\u00a0=\u00a0{measured.fitted_widths[0]:,}. (c) Dotted: the exact machine. "
            "(d) Outputs less their mean over classes. Filled squares: the mean over seeds of "
            "elementwise Adam, estimated without bias from pairs of seeds. Open: single models, "
            "with the mean of the other seeds at the largest width for their limit.",
            spread,
            "ADAM* is our reconstruction of the paper's rule.",
        ]
    )
