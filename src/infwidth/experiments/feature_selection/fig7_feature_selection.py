# SPDX-License-Identifier: Apache-2.0
"""Figure 7: trained features against frozen ones that are weighted up and down."""

from matplotlib.figure import Figure

from infwidth.drawing.layout import new_figure, set_margins, small_print
from infwidth.drawing.style import TEXT_WIDTH, paper_style
from infwidth.experiments.feature_selection import panels
from infwidth.experiments.feature_selection.measured import LABELS, FeatureSelection, effects

PANELS = (
    ("(a) trained networks rebuilt", panels.made_again),
    ("(b) what reweighting costs", panels.price),
    ("(c) planted: mass on aligned features", panels.mass),
    ("(d) planted: test loss", panels.planted_loss),
    ("(e) digits: pruned and retrained", panels.retrained),
    ("(f) digits: top against random features", panels.against_random),
)


@paper_style()
def draw(measured: FeatureSelection) -> Figure:
    """Networks made again and what it costs; planted directions; pruning."""
    figure = new_figure(TEXT_WIDTH, 6.9)
    grid = figure.subplots(3, 2)
    for axes, (title, panel) in zip(grid.flat, PANELS, strict=True):
        panel(axes, measured)
        axes.set_title(title, loc="left", pad=5)
    foot = small_print(figure, _print(measured))
    set_margins(figure, 0.1, 0.24, foot + 0.4, column_gap=0.66, row_gap=0.66)
    return figure


def _print(measured: FeatureSelection) -> str:
    confidence, seeds = f"{measured.confidence:.0%}", len(measured.seeds)
    slopes = [effect.estimate for effect in effects(measured)["reweighting_error_slope"]]
    lost = sum(map(measured.lost, ("planted", "infinite", "pruning")))
    selection = measured.table("selection")
    open_ends = [
        f"{row.study}, {LABELS[row.rule]}" for row in selection[~selection["interior"]].itertuples()
    ]
    parts = [
        f"(a) Networks whose features trained at κ times the readout's rate, rebuilt from frozen "
        f"features weighted by density ratio (errors from ∝ {_power(max(slopes))} to ∝ "
        f"{_power(min(slopes))}), or by the best readout. (c) Dotted: a random readout "
        "(black: of learned features). (e, f) Top: features of the largest readout.",
        f"Bands: {confidence} intervals over {seeds} seeds." if seeds > 1 else "One seed.",
        f"Rates not bracketed by the search: {'; '.join(open_ends)}." if open_ends else "",
        f"Networks that diverged and are left out: {lost}." if lost else "",
        "ADAM* is our reconstruction of the paper's rule.",
    ]
    return " ".join(part for part in parts if part)


def _power(exponent: float) -> str:
    return f"$H^{{{exponent:.2f}}}$"
