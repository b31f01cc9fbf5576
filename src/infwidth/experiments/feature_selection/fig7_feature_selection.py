# SPDX-License-Identifier: Apache-2.0
"""Figure 7: trained features against frozen ones that are weighted up and down."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from infwidth.drawing.curves import GREY, banded, half_power_guide, small_key, step_axis
from infwidth.drawing.layout import (
    fine_log_axis,
    new_figure,
    set_margins,
    small_print,
    width_axis,
)
from infwidth.drawing.style import TEXT_WIDTH, Look, look, paper_style
from infwidth.experiments.feature_selection.measured import LABELS, FeatureSelection, effects
from infwidth.stats.statistics import Interval

KEY = 6.3
"""Points of the keys."""

LOOKS: dict[str, Look] = {
    "unfrozen": look("unfrozen"),
    "adam": look("frozen"),
    "adam_star": look("adam_star"),
    "sgd": look("ntk"),
}
"""By rule, as the variants that train so."""

_BLUES = ("#9ecae1", "#5aa2cf", "#2a6fae", "#0b3d73")
_MARKERS = ("o", "v", "s", "D")
_FITS = (Look("#E69F00", "P", (0, (4, 1.5))), Look("#8C564B", "X", (0, (1, 1))))
_DIMENSIONS = (Look("#CC79A7", "o", (0, (4, 1.5))), Look("#0b3d73", "D", "-"))
_DOTS = (0, (1, 1.5))
_OPEN: dict[str, Any] = {"face": "white", "line": (0, (1, 1))}

_line = partial(banded, alpha=0.15)
_key = partial(small_key, size=KEY, handlelength=2.4, columnspacing=1.0)


def _made_again(axes: Axes, measured: FeatureSelection) -> None:
    """The error of networks made again, over width, and the rate of independent samples."""
    D = max(measured.places("density_ratio", "dimension"))
    kappas = _some(measured.places("density_ratio", "kappa"), len(_BLUES))
    ratios = [
        (D, kappa, Look(color, marker, "-"))
        for kappa, color, marker in zip(kappas, _BLUES, _MARKERS, strict=False)
    ]
    others = [d for d in measured.places("density_ratio", "dimension") if d != D]
    ratios += [(d, kappas[-1], _DIMENSIONS[0]) for d in others]
    fits = _some(measured.places("least_squares", "dimension"), len(_FITS))
    widths: set[int] = set()

    def over_width(name: str, label: str, style: Look, **at: Any) -> None:
        own = sorted(measured.rows(name, **at)["width"].unique())
        means = [measured.typical(name, "error", width=width, **at) for width in own]
        _line(axes, own, means, style, label)
        widths.update(own)

    for d, kappa, style in ratios:
        label = rf"$D$ = {d}, $\kappa$ = {kappa:g}"
        over_width("density_ratio", label, style, dimension=d, kappa=kappa)
    for d, style in zip(fits, _FITS, strict=False):
        over_width("least_squares", f"best readout, $D$ = {d}", style, dimension=d)
    _log_axis(axes)
    limits = (min(widths) / 1.25, max(widths) * 1.25)
    width_axis(axes, limits, _ticks(sorted(widths)), "width $H$")
    low, high = axes.get_ylim()
    half_power_guide(axes, [min(widths), max(widths)], 2.5 * high, KEY)
    axes.set_ylim(low * (low / high) ** 0.5, 3 * high * (high / low) ** 0.12)
    _key(axes, "lower left", ncols=2)
    axes.set_ylabel("error relative to outputs")


def _price(axes: Axes, measured: FeatureSelection) -> None:
    """The second moment of the weights over how far features moved."""
    kappas = measured.places("density_ratio", "kappa")
    for D, style in zip(measured.places("density_ratio", "dimension"), _DIMENSIONS, strict=False):
        cells = [{"dimension": D, "kappa": kappa} for kappa in kappas]
        means = [measured.mean("density_ratio", "moved", **cell) for cell in cells]
        moved = [math.degrees(mean.estimate) for mean in means]
        fine, coarse = (
            [measured.typical_of(measured.prices(column, **cell)) for cell in cells]
            for column in ("price", "coarse_price")
        )
        label = f"$D$ = {D}"
        _line(axes, moved, fine, style, label)
        _line(axes, moved, coarse, style, f"{label}, 1/16 of the cells", alpha=0, **_OPEN)
    _log_axis(axes)
    axes.set_xlabel("mean angle that features moved (degrees)")
    axes.set_ylabel(r"$\mathbf{E}[\tilde{M}^2]\,/\,\mathbf{E}[M_t^2]$")
    _key(axes, "upper left")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.35)


def _mass(axes: Axes, measured: FeatureSelection) -> None:
    """The share of the readout's mass on aligned features, over steps, at the largest width."""
    width, steps = measured.places("planted", "width")[-1], measured.places("planted", "step")
    for rule in measured.rules("planted"):
        at = {"rule": rule, "width": width}
        means = [measured.mean("planted", "aligned", step=step, **at) for step in steps]
        # A share is none above 1, whatever Student's t says.
        shares = [Interval(m.estimate, max(m.lower, 0.0), min(m.upper, 1.0)) for m in means]
        _line(axes, steps, shares, LOOKS[rule], LABELS[rule])
    for rule in measured.rules("planted"):
        at = {"rule": rule, "width": width}
        chances = [measured.mean("planted", "at_random", step=step, **at) for step in steps]
        axes.plot(
            steps,
            [chance.estimate for chance in chances],
            color=LOOKS[rule].color if rule == "unfrozen" else GREY,
            linestyle=_DOTS,
            linewidth=0.9,
            zorder=1,
        )
    axes.annotate(
        "random readout",
        (steps[-1], chances[0].estimate),
        xytext=(0, 2),
        textcoords="offset points",
        color=GREY,
        fontsize=KEY,
        ha="right",
        va="bottom",
    )
    axes.set_ylim(0, 1.4)
    axes.yaxis.set_major_locator(FixedLocator(np.linspace(0, 1, 6).tolist()))
    step_axis(axes)
    axes.set_ylabel(f"share of mass ($H$ = {width:,})")
    _key(axes, "upper left", ncols=2)


def _planted_loss(axes: Axes, measured: FeatureSelection) -> None:
    """Test loss over width, at infinite width, and of the best readout there is."""
    widths = measured.places("planted", "width")
    for rule in measured.rules("planted"):
        at = {"rule": rule, "step": measured.final_step()}
        means = [measured.typical("planted", "loss", width=width, **at) for width in widths]
        _line(axes, widths, means, LOOKS[rule], LABELS[rule])
    beyond = 4 * widths[-1]
    for rule in measured.rules("infinite"):
        limit = measured.typical("infinite", "loss", rule=rule)
        axes.vlines(beyond, limit.lower, limit.upper, LOOKS[rule].color, linewidth=0.9)
        axes.plot(
            beyond,
            limit.estimate,
            color=LOOKS[rule].color,
            marker=LOOKS[rule].marker,
            markersize=4.2,
            markeredgecolor="white",
            markeredgewidth=0.4,
        )
    best = {width: loss for width, loss in measured.best_losses().items() if width >= widths[0]}
    if best:
        axes.plot(
            list(best),
            list(best.values()),
            color="black",
            linestyle=_DOTS,
            linewidth=0.9,
            label="best frozen readout",
        )
    _log_axis(axes)
    limits, ticks = (widths[0] / 1.25, beyond * 1.25), [*_ticks(widths), beyond]
    width_axis(axes, limits, ticks, "width $H$", {beyond: "$\\infty$"})
    axes.set_ylabel("mean square error / variance")
    _key(axes, "center right")


def _retrained(axes: Axes, measured: FeatureSelection) -> None:
    """Test loss over the share of features that is kept."""
    shares = _shares(measured)
    for rule in measured.rules("pruning"):
        at = {"rule": rule, "retrained": True}
        for kind, more in (("top", {}), ("random", _OPEN)):
            losses = [
                measured.typical("pruning", "loss", kind=kind, share=share, **at)
                for share in shares
            ]
            label = f"{LABELS[rule].split(',')[0]}, {kind}"
            _line(axes, _percent(shares), losses, LOOKS[rule], label, **more)
        whole = measured.typical("pruning", "loss", kind="whole", **at).estimate
        axes.axhline(whole, color=LOOKS[rule].color, linestyle=_DOTS, linewidth=0.7)
    _share_axes(axes, shares)
    axes.set_ylabel("test loss (nats)")
    _key(axes, "upper right")


def _against_random(axes: Axes, measured: FeatureSelection) -> None:
    """The same, top over random, paired by seed."""
    shares = _shares(measured)
    for rule in measured.rules("pruning"):
        for retrained, how in ((True, "retrained"), (False, "as is")):
            more = {} if retrained else {"alpha": 0, **_OPEN}
            ratios = [measured.top_over_random(rule, share, retrained) for share in shares]
            label = f"{LABELS[rule].split(',')[0]}, {how}"
            _line(axes, _percent(shares), ratios, LOOKS[rule], label, **more)
    axes.axhline(1, color="black", linewidth=0.6)
    _share_axes(axes, shares)
    axes.set_ylabel("loss of top / of random")
    low, high = axes.get_ylim()
    axes.set_ylim(low * (low / high) ** 0.35, high)
    _key(axes, "lower right", ncols=2)


def _shares(measured: FeatureSelection) -> list[float]:
    return [share for share in measured.places("pruning", "share") if share < 1]


def _percent(shares: Sequence[float]) -> list[float]:
    return [100 * share for share in shares]


def _share_axes(axes: Axes, shares: Sequence[float]) -> None:
    fine_log_axis(axes)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(_percent(shares)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set_xlabel("features kept (%)")


def _some(values: Sequence[Any], most: int) -> list[Any]:
    """At most so many of them, spread evenly, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(place)] for place in np.linspace(0, len(values) - 1, most)]


def _ticks(widths: Sequence[int]) -> list[int]:
    """All widths if they are few, else the powers of 4 among them."""
    powers = [4**k for k in range(16) if widths[0] <= 4**k <= widths[-1]]
    return list(widths) if len(widths) <= 4 or not powers else powers


def _log_axis(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(10))
    axes.yaxis.set_minor_locator(NullLocator())


PANELS = (
    ("(a) trained networks rebuilt", _made_again),
    ("(b) what reweighting costs", _price),
    ("(c) planted: mass on aligned features", _mass),
    ("(d) planted: test loss", _planted_loss),
    ("(e) digits: pruned and retrained", _retrained),
    ("(f) digits: top against random features", _against_random),
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
