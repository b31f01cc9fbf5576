# SPDX-License-Identifier: Apache-2.0
"""The panels of figure 7, each drawn into axes of its own."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from infwidth.drawing.layout import fine_log_axis, width_axis
from infwidth.drawing.style import Look, look
from infwidth.experiments.feature_selection.measured import LABELS, FeatureSelection
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
_GREY = "#777777"


def made_again(axes: Axes, measured: FeatureSelection) -> None:
    """The error of networks made again, over width, and the rate of independent samples."""
    D = max(measured.places("density_ratio", "dimension"))
    kappas = _some(measured.places("density_ratio", "kappa"), len(_BLUES))
    widths: set[int] = set()
    for kappa, color, marker in zip(kappas, _BLUES, _MARKERS, strict=False):
        at, style = {"dimension": D, "kappa": kappa}, Look(color, marker, "-")
        label = rf"$D$ = {D}, $\kappa$ = {kappa:g}"
        widths |= _over_width(axes, measured, "density_ratio", at, style, label)
    for d in measured.places("density_ratio", "dimension"):
        if d != D:
            at, style = {"dimension": d, "kappa": kappas[-1]}, _DIMENSIONS[0]
            label = rf"$D$ = {d}, $\kappa$ = {kappas[-1]:g}"
            widths |= _over_width(axes, measured, "density_ratio", at, style, label)
    dimensions = _some(measured.places("least_squares", "dimension"), len(_FITS))
    for D, style in zip(dimensions, _FITS, strict=False):
        label = f"best readout, $D$ = {D}"
        widths |= _over_width(axes, measured, "least_squares", {"dimension": D}, style, label)
    _log_axis(axes)
    limits = (min(widths) / 1.25, max(widths) * 1.25)
    width_axis(axes, limits, _ticks(sorted(widths)), "width $H$")
    low, high = axes.get_ylim()
    ends = np.array([min(widths), max(widths)], np.float64)
    height = 2.5 * high * (ends / ends[0]) ** -0.5
    axes.plot(ends, height, color="#999999", linestyle=(0, (1, 1)), linewidth=0.9)
    axes.annotate(
        "$H^{-1/2}$",
        (math.sqrt(ends[0] * ends[1]), math.sqrt(height[0] * height[1])),
        xytext=(2, 2),
        textcoords="offset points",
        color=_GREY,
        fontsize=KEY,
    )
    axes.set_ylim(low * (low / high) ** 0.5, 3 * high * (high / low) ** 0.12)
    _key(axes, "lower left", columns=2)
    axes.set_ylabel("error relative to outputs")


def _over_width(
    axes: Axes,
    measured: FeatureSelection,
    name: str,
    at: dict[str, Any],
    style: Look,
    label: str,
) -> set[int]:
    widths = sorted(measured.rows(name, **at)["width"].unique())
    means = [measured.typical(name, "error", width=width, **at) for width in widths]
    _line(axes, widths, means, style, label)
    return set(widths)


def price(axes: Axes, measured: FeatureSelection) -> None:
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
        _line(axes, moved, coarse, style, f"{label}, 1/16 of the cells", face="white", band=False)
    _log_axis(axes)
    axes.set_xlabel("mean angle that features moved (degrees)")
    axes.set_ylabel(r"$\mathbf{E}[\tilde{M}^2]\,/\,\mathbf{E}[M_t^2]$")
    _key(axes, "upper left")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.35)


def mass(axes: Axes, measured: FeatureSelection) -> None:
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
            color=LOOKS[rule].color if rule == "unfrozen" else _GREY,
            linestyle=(0, (1, 1.5)),
            linewidth=0.9,
            zorder=1,
        )
    chance = chances[0]
    axes.annotate(
        "random readout",
        (steps[-1], chance.estimate),
        xytext=(0, 2),
        textcoords="offset points",
        color=_GREY,
        fontsize=KEY,
        ha="right",
        va="bottom",
    )
    axes.set_ylim(0, 1.4)
    axes.yaxis.set_major_locator(FixedLocator(np.linspace(0, 1, 6).tolist()))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(10))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.set_xlabel("steps")
    axes.set_ylabel(f"share of mass ($H$ = {width:,})")
    _key(axes, "upper left", columns=2)


def planted_loss(axes: Axes, measured: FeatureSelection) -> None:
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
            linestyle=(0, (1, 1.5)),
            linewidth=0.9,
            label="best frozen readout",
        )
    _log_axis(axes)
    width_axis(
        axes,
        (widths[0] / 1.25, beyond * 1.25),
        [*_ticks(widths), beyond],
        "width $H$",
        {beyond: "$\\infty$"},
    )
    axes.set_ylabel("mean square error / variance")
    _key(axes, "center right")


def retrained(axes: Axes, measured: FeatureSelection) -> None:
    """Test loss over the share of features that is kept."""
    shares = _shares(measured)
    for rule in measured.rules("pruning"):
        name = LABELS[rule].split(",")[0]
        for kind, face in (("top", None), ("random", "white")):
            at = {"rule": rule, "kind": kind, "retrained": True}
            means = [measured.typical("pruning", "loss", share=share, **at) for share in shares]
            percent = [100 * share for share in shares]
            _line(axes, percent, means, LOOKS[rule], f"{name}, {kind}", face)
        at = {"rule": rule, "kind": "whole", "retrained": True}
        whole = measured.typical("pruning", "loss", **at).estimate
        axes.axhline(whole, color=LOOKS[rule].color, linestyle=(0, (1, 1.5)), linewidth=0.7)
    _share_axis(axes, shares)
    fine_log_axis(axes)
    axes.set_ylabel("test loss (nats)")
    _key(axes, "upper right")


def against_random(axes: Axes, measured: FeatureSelection) -> None:
    """The same, top over random, paired by seed."""
    shares = _shares(measured)
    for rule in measured.rules("pruning"):
        name = LABELS[rule].split(",")[0]
        for retrained, face, how in ((True, None, "retrained"), (False, "white", "as is")):
            ratios = [measured.top_over_random(rule, share, retrained) for share in shares]
            percent = [100 * share for share in shares]
            _line(axes, percent, ratios, LOOKS[rule], f"{name}, {how}", face, band=retrained)
    axes.axhline(1, color="black", linewidth=0.6)
    _share_axis(axes, shares)
    fine_log_axis(axes)
    axes.set_ylabel("loss of top / of random")
    low, high = axes.get_ylim()
    axes.set_ylim(low * (low / high) ** 0.35, high)
    _key(axes, "lower right", columns=2)


def _shares(measured: FeatureSelection) -> list[float]:
    return [share for share in measured.places("pruning", "share") if share < 1]


def _share_axis(axes: Axes, shares: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([100 * share for share in shares]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set_xlabel("features kept (%)")


def _line(
    axes: Axes,
    places: Sequence[float],
    means: Sequence[Interval],
    style: Look,
    label: str,
    face: str | None = None,
    band: bool = True,
) -> None:
    """A curve, its intervals as a band; markers of another `face` are open."""
    y, lower, upper = (
        np.array([getattr(mean, end) for mean in means]) for end in ("estimate", "lower", "upper")
    )
    if band:
        axes.fill_between(places, lower, upper, color=style.color, alpha=0.15, linewidth=0)
    axes.plot(
        places,
        y,
        color=style.color,
        linestyle=style.line if face is None else (0, (1, 1)),
        linewidth=1.0,
        marker=style.marker,
        markersize=3.4,
        markerfacecolor=face or style.color,
        markeredgecolor=style.color if face else "white",
        markeredgewidth=0.7 if face else 0.4,
        label=label,
    )


def _some(values: Sequence[Any], most: int) -> list[Any]:
    """At most so many of them, spread evenly, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(place)] for place in np.linspace(0, len(values) - 1, most)]


def _key(axes: Axes, place: Any, columns: int = 1) -> None:
    key = axes.legend(
        loc=place,
        ncols=columns,
        fontsize=KEY,
        handlelength=2.4,
        borderaxespad=0.2,
        labelspacing=0.3,
        columnspacing=1.0,
        frameon=False,
    )
    key.set_zorder(5)


def _ticks(widths: Sequence[int]) -> list[int]:
    """All widths if they are few, else the powers of 4 among them."""
    powers = [4**k for k in range(16) if widths[0] <= 4**k <= widths[-1]]
    return list(widths) if len(widths) <= 4 or not powers else powers


def _log_axis(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(10))
    axes.yaxis.set_minor_locator(NullLocator())
