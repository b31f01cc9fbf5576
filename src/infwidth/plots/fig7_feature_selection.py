# SPDX-License-Identifier: Apache-2.0
"""Figure 7: trained features against frozen ones that are weighted up and down."""

from matplotlib.figure import Figure

from infwidth.analysis.feature_selection import LABELS, FeatureSelection, effects
from infwidth.plots import feature_selection_panels as panels
from infwidth.plots.layout import new_figure, set_margins, small_print
from infwidth.plots.style import TEXT_WIDTH, paper_style

PANELS = (
    ("(a) trained networks made again", panels.made_again),
    ("(b) what reweighting costs", panels.price),
    ("(c) planted: mass on aligned features", panels.mass),
    ("(d) planted: test loss", panels.planted_loss),
    ("(e) digits: pruned and retrained", panels.retrained),
    ("(f) digits: top against random features", panels.against_random),
)


def draw(measured: FeatureSelection) -> Figure:
    """Networks made again and what it costs; planted directions; pruning."""
    with paper_style():
        return _draw(measured)


def _draw(measured: FeatureSelection) -> Figure:
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
    settings, found = measured.settings, effects(measured)
    slopes = [effect.estimate for effect in found["reweighting_error_slope"]]
    pairs = zip(found["least_squares_error_slope"], found["least_squares_price_slope"], strict=True)
    best = "; ".join(
        f"{error.where}: error ∝ {_power(error.estimate)}, E[M²] ∝ {_power(price.estimate)}"
        for error, price in pairs
    )
    lost = sum(map(measured.lost, ("planted", "infinite", "pruning")))
    selection = measured.table("selection")
    open_ends = [
        f"{row.study}, {LABELS[row.rule]}" for row in selection[~selection["interior"]].itertuples()
    ]
    parts = [
        f"(a, b) Blue, pink: {settings['density_ratio']['particles']:,} units whose features "
        "trained, at κ times the readout's rate, made again by frozen features that are weighted "
        f"by density ratio: errors from ∝ {_power(max(slopes))} to ∝ {_power(min(slopes))}. Where "
        r"coarser cells (open) give less, $\mathbf{E}[\tilde{M}^2]$ is not resolved. Orange, "
        f"brown: {settings['least_squares']['units']} trained units, by the best readout of frozen "
        f"features; {best}.",
        f"(c) Aligned: |cos| to one of {settings['planted']['units']} planted directions in the "
        f"top {settings['planted']['aligned_share']:.0%} of the features as drawn; dotted: a "
        "random readout, of features that stay (grey) and of those that learned (black).",
        "(d) ∞: the exact kernel machine; dotted: the best that any readout of as many frozen "
        "features can do. (e, f) Top: features of the largest readout. (e) Dotted: all features. "
        "(f) As is: not retrained, but multiplied by one number, fitted on validation.",
        f"Bands: {confidence} intervals over {seeds} seeds, paired in (f), where they are drawn "
        "for what is retrained."
        if seeds > 1
        else "One seed.",
        f"Rates not bracketed by the search: {'; '.join(open_ends)}." if open_ends else "",
        f"Networks that diverged and are left out: {lost}." if lost else "",
        "ADAM* is our reconstruction of the paper's rule.",
    ]
    return " ".join(part for part in parts if part)


def _power(exponent: float) -> str:
    return f"$H^{{{exponent:.2f}}}$"
