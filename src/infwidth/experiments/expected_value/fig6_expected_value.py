# SPDX-License-Identifier: Apache-2.0
"""Figure 6: the mean over inits of finite models against the infinite model."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infwidth.drawing.curves import GREY, log_width_axes
from infwidth.drawing.layout import (
    EndLabel,
    end_labels,
    label_width,
    new_figure,
    set_margins,
    small_print,
)
from infwidth.drawing.style import SMALL_PRINT, TEXT_WIDTH, Look, look, paper_style
from infwidth.experiments.expected_value.measured import ExpectedValue, TrainedCell

LABELS = {"adam_star": "ADAM*", "sgd": "SGD", "sgd_squared": "SGD, squared loss"}
"""By training rule; the loss is cross-entropy where none is named."""

_LOOKS = {
    "adam_star": look("adam_star"),
    "sgd": look("ntk"),
    "sgd_squared": Look("#8C564B", "s", (0, (2, 1))),
}
_MEAN = look("frozen")
_MOST_TICKS = 4


@paper_style()
def draw(measured: ExpectedValue) -> Figure:
    """Left: a fixed readout function, unbiased at every width. Right: trained, biased as 1/H."""
    figure = new_figure(TEXT_WIDTH, 3.0)
    fixed, trained = figure.subplots(1, 2, squeeze=False)[0]
    left, right = _fixed(fixed, measured), _trained(trained, measured)
    fixed.set_title("fixed readout function", loc="left", pad=3)
    trained.set_title("trained from $M = 0$", loc="left", pad=3)
    fixed.set_ylabel("rms difference from the infinite model\n(relative to its outputs)")
    foot = small_print(figure, _print(measured))
    gap = label_width(figure, left) + 0.36
    set_margins(figure, label_width(figure, right), 0.24, foot + 0.42, column_gap=gap)
    end_labels(fixed, left)
    end_labels(trained, right)
    return figure


def _fixed(axes: Axes, measured: ExpectedValue) -> list[EndLabel]:
    cells = measured.fixed()
    widths = [cell.width for cell in cells]
    single, mean, noise = zip(*((c.single, c.mean, c.noise) for c in cells), strict=True)
    axes.plot(widths, single, color="black", marker="o", linewidth=0.8, markersize=3)
    axes.plot(widths, noise, color=_MEAN.color, linestyle=(0, (3, 2)), linewidth=0.8)
    axes.plot(widths, mean, color=_MEAN.color, marker=_MEAN.marker, linestyle="")
    off = [cell for cell in cells if not cell.unbiased]
    axes.plot(
        [cell.width for cell in off], [cell.mean for cell in off], "x", color="black", markersize=7
    )
    log_width_axes(axes, widths, _MOST_TICKS)
    _reference(axes, widths, 2.2 * single[0], -0.5, r"$\propto H^{-1/2}$", above=True)
    return [EndLabel(single[-1], "one", "black"), EndLabel(mean[-1], "mean", _MEAN.ink)]


def _trained(axes: Axes, measured: ExpectedValue) -> list[EndLabel]:
    labels, widths = [], set()
    middle = (len(measured.cases) - 1) / 2
    for place, case in enumerate(measured.cases):
        cells, style = measured.trained(case), _LOOKS[case]
        widths |= {cell.width for cell in cells}
        single = [cell.single for cell in cells]
        axes.plot([cell.width for cell in cells], single, color=style.color, alpha=0.4, linewidth=1)
        known = [cell for cell in cells if cell.resolved]
        shift = 2 ** (0.1 * (place - middle))
        axes.plot(
            [shift * cell.width for cell in known],
            [cell.bias.estimate for cell in known],
            color=style.color,
            marker=style.marker,
            linestyle=style.line,
            markeredgecolor="white",
            markeredgewidth=0.4,
        )
        for cell in cells:
            bias = cell.bias
            if cell.resolved:
                axes.vlines(shift * cell.width, bias.lower, bias.upper, style.color, linewidth=0.9)
            elif bias.upper > 0:
                # The interval covers 0: an arrow points down from its upper end.
                axes.plot(shift * cell.width, bias.upper, marker=7, color=style.color, markersize=5)
        labels.append(EndLabel(max(_end(cells[-1]), 1e-12), LABELS[case], style.ink))
    log_width_axes(axes, sorted(widths), _MOST_TICKS)
    firsts = [measured.trained(case)[0] for case in measured.cases]
    lowest = min((_end(cell) for cell in firsts if _end(cell) > 0), default=0.0)
    if lowest:
        _reference(axes, sorted(widths), 0.45 * lowest, -1, r"$\propto H^{-1}$", above=False)
    return labels


def _end(cell: TrainedCell) -> float:
    """Where a point or an arrow stands, and its label with it."""
    return cell.bias.estimate if cell.resolved else cell.bias.upper


def _reference(
    axes: Axes, widths: Sequence[int], start: float, power: float, text: str, above: bool
) -> None:
    """A thin line of a power of H from `start` on, and what it is proportional to."""
    if len(widths) == 1:
        return
    x = np.array([widths[0], math.sqrt(widths[0] * widths[-1]), widths[-1]])
    y = start * (x / x[0]) ** power
    axes.plot(x, y, color="#aaaaaa", linewidth=0.7)
    axes.annotate(
        text,
        (x[1], y[1]),
        (3, 2) if above else (-3, -2),
        textcoords="offset points",
        fontsize=SMALL_PRINT,
        color=GREY,
        ha="left" if above else "right",
        va="bottom" if above else "top",
    )


def _print(measured: ExpectedValue) -> str:
    cells = measured.fixed()
    confidence = f"{measured.confidence:.0%}"
    off = [f"{cell.width:,}" for cell in cells if not cell.unbiased]
    verdict = f"not within that error at H = {', '.join(off)} (crosses)"
    verdict = verdict if off else "within that error at every width"
    settings = measured.measured.settings["expected_value"]
    slopes = "; ".join(_slope(measured, case) for case in measured.cases)
    lost = [
        f"{LABELS[case]} at H = {cell.width:,}"
        for case in measured.cases
        for cell in measured.trained(case)
        if not cell.resolved
    ]
    stop = f"Not resolved, where larger widths were not tried: {'; '.join(lost)} (arrows)."
    parts = [
        f"Left: one finite model; the mean over {cells[0].inits:,} to {cells[-1].inits:,} inits; "
        f"dashed, its Monte-Carlo error. The mean is {verdict} ({confidence}).",
        f"Right: bias of the mean over {settings['trained']['inits_per_unit']} H inits, "
        f"{confidence} intervals; pale, one model. Exponents in H: {slopes}.",
        stop if lost else "",
        f"scikit-learn's digits, {settings['classes']} classes. "
        "ADAM* is our reconstruction of the paper's rule.",
    ]
    return " ".join(part for part in parts if part)


def _slope(measured: ExpectedValue, case: str) -> str:
    slope = measured.slope(case)
    if not np.isfinite([slope.lower, slope.upper]).all():
        return f"{LABELS[case]} unknown"
    ends = f"{slope.lower:.2f} to {slope.upper:.2f}".replace("-", "−")
    return f"{LABELS[case]} {slope.estimate:.2f} ({ends})".replace("-", "−")
