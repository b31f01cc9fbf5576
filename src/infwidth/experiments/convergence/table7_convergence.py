# SPDX-License-Identifier: Apache-2.0
"""Table 7: how finite models approach the infinite one, with the test of the rate."""

import math
from typing import Any

import pandas as pd

from infwidth.drawing.table import MISSING, Table, comparison, number, sentences, signed
from infwidth.experiments.convergence.measured import (
    ADAM,
    EXPECTED_SLOPE,
    KERNEL_RULES,
    SPLITS,
    VIEWS,
    Convergence,
    geometric_mean,
    root,
)
from infwidth.stats.statistics import Interval


def build(measured: Convergence) -> Table:
    """One row a (rule, split); for elementwise Adam the distance of its limit from ADAM*'s."""
    rows = [_kernel_row(measured, rule, split) for rule in KERNEL_RULES for split in SPLITS]
    rows += [_adam_row(measured, view, split) for view in VIEWS for split in SPLITS]
    raw = pd.DataFrame(rows)
    first, last = measured.widths[0], measured.widths[-1]
    shown = pd.DataFrame(
        [
            {
                "Rule": row["label"],
                "on": SPLITS[row["split"]],
                f"distance at H = {first:,}": number(row["distance_narrowest"], 3),
                f"at {last:,}": number(row["distance_widest"], 3),
                "at ∞": "0" if row["rule"] != "adam" else _interval(row, "limit_distance"),
                "slope": MISSING if row["rule"] == "adam" else _slope(row),
                "p (TOST)": _p(row["p_equivalent"]),
                "found": row["found"],
                f"loss at {last:,}": number(row["loss_widest"]),
                "loss at ∞": number(row["loss_limit"]),
            }
            for row in rows
        ]
    )
    return Table("table7_convergence", _caption(measured), raw, shown)


def _kernel_row(measured: Convergence, rule: str, split: str) -> dict[str, Any]:
    slope = measured.slope(rule, split)
    by_end = _at_ends(measured, measured.distances(rule, split))
    return _common(measured, rule, split, by_end) | {
        "label": KERNEL_RULES[rule],
        "view": "outputs",
        **_columns("slope", slope.mean),
        "slope_sd": slope.mean.sd,
        "test_lower": slope.of_test.lower,
        "test_upper": slope.of_test.upper,
        "margin": measured.margin,
        "p_equivalent": slope.evidence.p_holds,
        "p_different": slope.evidence.p_opposite,
        "found": comparison(slope.verdict, "within margin", "beyond margin"),
        "loss_limit": measured.limit(rule, split, "loss"),
        "limit_rms": measured.limit(rule, split, "rms_outputs"),
    }


def _adam_row(measured: Convergence, view: str, split: str) -> dict[str, Any]:
    by_end = {
        end: measured.from_star("adam", width, split, view)
        for end, width in _ends(measured).items()
    }
    same_width = _at_ends(measured, measured.adam_distances("adam_star", split, view))
    return _common(measured, "adam", split, by_end) | {
        "label": ADAM + (", centred" if view == "centred" else ""),
        "view": view,
        "p_equivalent": math.nan,
        "found": measured.limits_differ(split, view),
        "loss_limit": math.nan,
        "limit_rms": measured.limit("adam_star", split, f"rms_{view}"),
        **_columns("limit_distance", root(measured.limit_gap(split, view))),
        **{f"same_width_distance_{end}": mean.estimate for end, mean in same_width.items()},
    }


def _common(
    measured: Convergence, rule: str, split: str, by_end: dict[str, Interval]
) -> dict[str, Any]:
    found: dict[str, Any] = {"rule": rule, "split": split, "seeds": len(measured.seeds)}
    for end, width in _ends(measured).items():
        found |= _columns(f"distance_{end}", by_end[end])
        found[f"loss_{end}"] = measured.loss(rule, split, width).estimate
    return found


def _columns(name: str, interval: Interval) -> dict[str, float]:
    ends = {"": interval.estimate, "_lower": interval.lower, "_upper": interval.upper}
    return {name + end: value for end, value in ends.items()}


def _at_ends(measured: Convergence, distances: pd.DataFrame) -> dict[str, Interval]:
    return {
        end: geometric_mean(distances[width], measured.confidence)
        for end, width in _ends(measured).items()
    }


def _ends(measured: Convergence) -> dict[str, int]:
    return {"narrowest": measured.widths[0], "widest": measured.widths[-1]}


def _slope(row: dict[str, Any]) -> str:
    half = (row["slope_upper"] - row["slope_lower"]) / 2
    shown = signed(row["slope"], 3)
    return shown if math.isnan(half) else f"{shown} ± {number(half, 3)}"


def _p(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:.1g}"


def _interval(row: dict[str, Any], name: str) -> str:
    shown = number(row[name], 3)
    if math.isnan(row[f"{name}_lower"]):
        return shown
    return f"{shown} ({number(row[f'{name}_lower'], 3)} to {number(row[f'{name}_upper'], 3)})"


def _caption(measured: Convergence) -> str:
    confidence = f"{measured.confidence:.0%}"
    size = measured.limit("adam_star", "test", "rms_centred")
    return sentences(
        [
            f"Root mean square distance of the outputs of finite models after {measured.steps[-1]} "
            "steps from the exact kernel machine trained on the same batches (scikit-learn's "
            "digits); geometric means over "
            f"{len(measured.seeds)} seeds of the features.",
            "Slope: of log distance on log width from "
            f"H = {measured.fitted_widths[0]:,}, ± half the {confidence} interval over seeds.",
            f"Rule: {signed(EXPECTED_SLOPE, 1)} within ±{measured.margin:g} by two one-sided tests "
            f"(p < {1 - measured.confidence:.2g}), for one row by itself; for all rows "
            f"together p = {_p(measured.all_slopes())}, and the verdict, after correction for the "
            "family of the claim, is in table 5.",
            f"{ADAM}, has no kernel form: distances are from ADAM*'s limit; at ∞ that of the mean "
            "over seeds, estimated from pairs of seeds and extrapolated in 1/H (differs: its "
            f"{confidence} interval excludes 0).",
            "Centred: without the mean over classes, which no softmax sees; ADAM*'s own centred "
            f"outputs have a root mean square of {number(size, 3)} on test images.",
            "ADAM*'s formula is our reconstruction (B), not the paper's text.",
        ]
    )
