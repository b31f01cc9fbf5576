# SPDX-License-Identifier: Apache-2.0
"""Figure 14: losses over width at the paper's depth and steps, in test and in training."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infwidth.drawing.layout import key, new_figure, set_margins, small_print
from infwidth.drawing.style import TEXT_WIDTH, look, paper_style
from infwidth.experiments import panels
from infwidth.experiments.measured import Study
from infwidth.stats.effects import Effect

_RIGHT = 0.12
_SPLITS = {"test": "test", "train": "training"}


@paper_style()
def draw(measured: Study) -> Figure:
    """Above: losses. Below: the same less those of frozen features. Left: test, right: training."""
    variants = panels.reported(measured)
    figure = new_figure(TEXT_WIDTH, 4.6)
    grid = figure.subplots(2, 2, sharey="row")
    for (above, below), (split, word) in zip(grid.T, _SPLITS.items(), strict=True):
        above.set_title(f"{word} loss", loc="left", pad=4)
        _panel(above, measured, variants, split, less_frozen=False)
        others = [name for name in variants if name != "frozen"]
        if "frozen" in variants and others:
            below.set_title(f"{word} loss above frozen features", loc="left", pad=4)
            _panel(below, measured, others, split, less_frozen=True)
            panels.margin_band(below, panels.margin_of(measured))
        below.set_xlabel("MLP width $H$")
    panels.margin_axis(grid[1, 0], panels.margin_of(measured))
    for axes in grid[:, 0]:
        axes.set_ylabel("nats per token")
    foot = small_print(figure, _print(measured))
    set_margins(figure, _RIGHT, 0.46, foot + 0.42, column_gap=0.2, row_gap=0.42)
    names = [(panels.short(name), look(name)) for name in variants]
    key(figure, figure.get_figheight() - 0.12, _RIGHT, names, lines=True)
    return figure


def _panel(axes: Axes, measured: Study, variants: list[str], split: str, less_frozen: bool) -> None:
    at = {width: name for name in measured.conditions for width in measured.widths(name)}
    widths = sorted(at)

    def effect(variant: str, width: int) -> Effect:
        weights = {(at[width], variant, width): 1.0}
        if less_frozen:
            weights[at[width], "frozen", width] = -1.0
        return measured.contrast("", weights, split)

    series = []
    for name in variants:
        intervals = [effect(name, width).interval(measured.confidence) for width in widths]
        series.append(panels.Series(look(name), intervals))
    panels.lines(axes, widths, series)


def _print(measured: Study) -> str:
    own = measured.settings["depth"]
    return " ".join(
        [
            f"Layers: {own['layers']}; steps: {own['steps']:,}; rates tuned at every width on "
            f"{own['tuning_steps']:,} steps, and from there at full length.",
            "Lower axes are linear within the margin (grey) and logarithmic beyond.",
            "Training loss: mean of the last tenth of the steps.",
            panels.notes(measured, own["seeds"]),
        ]
    )
