# SPDX-License-Identifier: Apache-2.0
"""Figure 13: losses less those of frozen features, rung by rung, and test against training."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infwidth.drawing.layout import key, new_figure, set_margins, small_print
from infwidth.drawing.style import TEXT_WIDTH, look, paper_style
from infwidth.experiments import panels
from infwidth.experiments.ladder.effects import (
    PREDICTED,
    at_last,
    extrapolation,
    rungs_of,
    steps_of,
    vocabularies,
    width_of,
)
from infwidth.experiments.measured import Study
from infwidth.stats.effects import Effect
from infwidth.stats.extrapolation import Extrapolation

_RIGHT = 0.12


@paper_style()
def draw(measured: Study) -> Figure:
    """Above: test loss less that of frozen features. Below: test loss less training loss."""
    variants, margin = panels.reported(measured), panels.margin_of(measured)
    ladders = vocabularies(measured)
    figure = new_figure(TEXT_WIDTH, 4.6)
    is_extrapolated = False
    grid = figure.subplots(2, len(ladders), squeeze=False)
    for (above, below), vocabulary in zip(grid.T, ladders, strict=True):
        rungs = rungs_of(measured, vocabulary)
        label = measured.conditions[rungs[0]]["label"].partition(",")[0]
        above.set_title(f"{label}: test loss above frozen features", loc="left", pad=4)
        below.set_title(f"{label}: test loss above training loss", loc="left", pad=4)
        steps = [steps_of(measured, rung) for rung in rungs]
        for axes, other in ((above, "frozen"), (below, None)):
            series = []
            for variant in (name for name in variants if name != other):
                effects = [_difference(measured, rung, variant, other) for rung in rungs]
                intervals = [effect.interval(measured.confidence) for effect in effects]
                series.append(panels.Series(look(variant), intervals))
            panels.lines(axes, steps, series)
            axes.tick_params(axis="x", labelsize=6.5)
        panels.margin_band(above, margin)
        panels.margin_axis(above, margin)
        below.axhline(0, color="#777777", linewidth=0.8, zorder=1)
        below.set_xlabel("training steps")
        for variant in PREDICTED:
            if variant in variants and "frozen" in variants:
                limit = extrapolation(measured, vocabulary, variant)
                if limit.fits:
                    _extrapolated(above, measured, limit, variant, steps[-1])
                    is_extrapolated = True
    for axes in grid[:, 0]:
        axes.set_ylabel("nats per token")
    foot = small_print(figure, _print(measured, is_extrapolated))
    set_margins(figure, _RIGHT, 0.46, foot + 0.42, column_gap=0.45, row_gap=0.42)
    names = [(panels.short(name), look(name)) for name in variants]
    key(figure, figure.get_figheight() - 0.12, _RIGHT, names, lines=True)
    return figure


def _difference(measured: Study, rung: str, variant: str, other: str | None) -> Effect:
    """Its test loss less another's; or else less its own loss in training."""
    width = width_of(measured)
    if other is not None:
        return measured.contrast("", {(rung, variant, width): 1, (rung, other, width): -1})
    test, train = (measured.losses(rung, variant, width, split) for split in ("test", "train"))
    return Effect.of_repeats("", [test[seed] - train[seed] for seed in test])


def _extrapolated(
    axes: Axes, measured: Study, limit: Extrapolation, variant: str, last: int
) -> None:
    """Every model's curve from the rungs before the last, and the range of all beside the last."""
    color = look(variant).color
    for fit in limit.fits:
        steps_T = np.geomspace(limit.widths[fit.model.skipped], last, 50)
        axes.plot(steps_T, fit.mean_at(steps_T), color=color, alpha=0.35, linewidth=0.5)
    beside = last * (axes.get_xlim()[1] / last) ** (0.85 - 0.25 * PREDICTED.index(variant))
    ends = at_last(limit, last).interval(measured.confidence)
    axes.vlines(beside, ends.lower, ends.upper, color, linewidth=3, alpha=0.35)


def _print(measured: Study, is_extrapolated: bool) -> str:
    own = measured.settings["ladder"]
    exponents = sorted(own["exponents"])
    parts = [
        f"{measured.settings['model']['layers']} layers, H = {width_of(measured):,}; rates "
        "tuned anew at each rung. Upper axes are linear within the margin (grey) and "
        "logarithmic beyond.",
        "Thin lines: ADAM* (B) and NTK by $L_\\infty+at^{-b}$ from the rungs before the last, "
        f"$b$ from {exponents[0]:g} to {exponents[-1]:g}; wide bars: the range of all models."
        if is_extrapolated
        else "",
        "Training loss: mean of the last tenth of the steps.",
        panels.notes(measured, own["seeds"]),
    ]
    return " ".join(filter(None, parts))
