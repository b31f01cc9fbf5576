# SPDX-License-Identifier: Apache-2.0
"""Table 8: losses and paired differences extrapolated to infinite width."""

import math
from typing import Any

import pandas as pd

from infwidth.config.variants import VARIANTS
from infwidth.drawing.table import MISSING, Table, number, plus_minus, sentences
from infwidth.experiments.width_limit.measured import WidthLimit, model_label
from infwidth.experiments.width_limit.settings import REFERENCE
from infwidth.stats.extrapolation import EXPONENTS, FEWEST_WIDTHS, LEAST_SPAN, Extrapolation, enough
from infwidth.stats.statistics import Interval, mean_interval


def build(measured: WidthLimit) -> Table:
    """One row a loss and a paired difference, with its limit."""
    rows = [
        _row(measured, "loss", model_label(variant, p), measured.loss(variant, p))
        for variant, p in measured.models
    ]
    rows += [
        _row(
            measured,
            "difference",
            f"{VARIANTS[variant].label} − {model_label(REFERENCE, p)}",
            measured.difference(variant, p),
        )
        for variant, p in measured.comparisons
    ]
    raw = pd.DataFrame(rows)
    widest = measured.widths[-1]
    shown = pd.DataFrame(
        [
            {
                "": row["label"],
                f"at H = {widest:,}": _interval(row, "widest"),
                "at ∞": number(row["limit"], 3),
                "by models that fit": _ends(row, "fitting"),
                "by all models": _ends(row, "all"),
                "best model": row["best_model"] or MISSING,
                "p (misfit)": MISSING
                if math.isnan(row["best_p_misfit"])
                else f"{row['best_p_misfit']:.2g}",
                "models that fit": f"{row['models_fitting']} of {row['models']}",
                "seeds": str(row["seeds"]),
            }
            for row in rows
        ]
    )
    return Table("table8_width_limit", _caption(measured), raw, shown)


def _row(measured: WidthLimit, kind: str, label: str, limit: Extrapolation) -> dict[str, Any]:
    confidence = measured.confidence
    widest = mean_interval(limit.values_SxW[:, -1], confidence)
    whole, fitting = limit.interval(confidence), limit.fitting_interval(confidence)
    best = limit.best if limit.fits else None
    return {
        "kind": kind,
        "label": label,
        "widest_width": limit.widths[-1],
        "widest": widest.estimate,
        "widest_lower": widest.lower,
        "widest_upper": widest.upper,
        "limit": whole.estimate,
        "fitting_lower": fitting.lower,
        "fitting_upper": fitting.upper,
        "all_lower": whole.lower,
        "all_upper": whole.upper,
        "best_model": best.model.describe(limit.widths) if best else "",
        "best_p_misfit": best.p_misfit if best else math.nan,
        "models": len(limit.fits),
        "models_fitting": len(limit.fitting(confidence)),
        "seeds": len(limit.values_SxW),
        "seeds_lost": limit.lost,
        "enough_widths": enough(limit.widths),
    }


def _interval(row: dict[str, Any], name: str) -> str:
    return plus_minus(Interval(row[name], row[f"{name}_lower"], row[f"{name}_upper"]), 3)


def _ends(row: dict[str, Any], name: str) -> str:
    lower, upper = row[f"{name}_lower"], row[f"{name}_upper"]
    if not math.isfinite(lower):
        return MISSING
    return f"{number(lower, 3)} to {number(upper, 3)}"


def _caption(measured: WidthLimit) -> str:
    widths = ", ".join(f"{width:,}" for width in measured.widths)
    return sentences(
        [
            f"Test loss in nats per token, extrapolated from H = {widths} to infinite width by "
            f"L∞ + a H^−b, b from {EXPONENTS[0]:g} to {EXPONENTS[-1]:g}, with up to 2 of the "
            "narrowest widths left out, and by both ends' powers at once.",
            f"Intervals are unions, over models, of {measured.confidence:.0%} t intervals over "
            "seeds (differences are paired by seed); a model fits unless an F test of its misfit "
            f"has p < {1 - measured.confidence:.2g}.",
            "At ∞: by the model of the largest p. A loss that falls more slowly than "
            f"H^−{EXPONENTS[0]:g} has a limit that none of these models finds.",
            "The unfrozen model has two limits: with 1/H (mean-field) its features keep moving; "
            "with 1/√H (the NTK parametrization) they come to stand still.",
            ""
            if enough(measured.widths)
            else f"Fewer than {FEWEST_WIDTHS} widths, or less than {LEAST_SPAN} times the "
            "narrowest: too little to judge a limit by.",
            f"Corpus: {measured.settings['corpus']}. "
            "ADAM*'s formula is our reconstruction (B), not the paper's text.",
        ]
    )
