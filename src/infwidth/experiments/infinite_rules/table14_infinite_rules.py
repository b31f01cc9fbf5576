# SPDX-License-Identifier: Apache-2.0
"""Table 14: rules for the readout at exactly infinite width, on digits, each tuned alike."""

import math
from typing import Any

import pandas as pd

from infwidth.drawing.table import MISSING, Table, count, plus_minus, rate, sentences
from infwidth.experiments.infinite_rules.measured import (
    KERNEL_LABELS,
    LABELS,
    REFERENCE,
    InfiniteRules,
)
from infwidth.stats.statistics import mean_interval


def build(measured: InfiniteRules) -> Table:
    """One row a rule and kernel."""
    rows = [_row(measured, *arm) for arm in measured.arms] + _finite(measured)
    raw = pd.DataFrame([row for row, _ in rows])
    shown = pd.DataFrame([cells for _, cells in rows]).fillna(MISSING)
    return Table("table14_infinite_rules", _caption(measured), raw, shown)


def _row(measured: InfiniteRules, rule: str, kernel: str) -> tuple[dict[str, Any], dict[str, str]]:
    """As raw numbers and as it is shown."""
    runs = measured.reported(rule, kernel)
    loss = mean_interval(list(measured.losses(rule, kernel).values()), measured.confidence)
    minus = None
    if (rule, kernel) != REFERENCE and REFERENCE in measured.arms:
        minus = measured.difference(rule, kernel).interval(measured.confidence)
    width, learning_rate = (float(runs[name].iloc[0]) for name in ("width", "learning_rate"))
    lost = len(runs) - loss.count
    raw = {
        "rule": rule,
        "kernel": kernel,
        "width": width,
        "test_loss_nats": loss.estimate,
        "test_loss_lower": loss.lower,
        "test_loss_upper": loss.upper,
        "seeds": loss.count,
        "diverged": lost,
        "minus_adam_nats": minus.estimate if minus else None,
        "minus_adam_lower": minus.lower if minus else None,
        "minus_adam_upper": minus.upper if minus else None,
        "learning_rate_tuned": learning_rate,
    }
    shown = {
        "Rule": LABELS[rule],
        "Kernel": KERNEL_LABELS[kernel],
        "H": count(width) if math.isfinite(width) else "∞",
        "test loss": plus_minus(loss) + (f", {lost} diverged" if lost else ""),
        "minus Adam": plus_minus(minus, sign=True) if minus else MISSING,
        "η": rate(learning_rate),
    }
    return raw, shown


def _finite(measured: InfiniteRules) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """Models of finite width on measured scales, by their distance from the infinite one."""
    rows = []
    for rule, distance_SxW in measured.distances.items():
        for width, distance_S in distance_SxW.items():
            distance = mean_interval(distance_S, measured.confidence)
            raw = {
                "rule": rule,
                "kernel": "measured",
                "width": float(str(width)),
                "seeds": distance.count,
                "distance": distance.estimate,
                "distance_lower": distance.lower,
                "distance_upper": distance.upper,
            }
            shown = {
                "Rule": LABELS[rule],
                "Kernel": KERNEL_LABELS["measured"],
                "H": count(float(str(width))),
                "from H = ∞": plus_minus(distance),
            }
            rows.append((raw, shown))
    return rows


def _caption(measured: InfiniteRules) -> str:
    seeds = len(measured.seeds)
    return sentences(
        [
            "Final test loss in nats per image on scikit-learn's digits; every rule with every "
            "kernel is tuned by itself, on one grid, by one rule, on tuning seeds.",
            f"± is the half width of the {measured.confidence:.0%} t interval over {seeds} seeds; "
            "differences are paired by seed, from elementwise Adam on frozen ReLU features.",
            "The width is exactly infinite but for the rules that keep no kernel. η is in units in "
            "which each rule's first step has rms η.",
            "The kernel of measured scales is averaged over "
            f"{measured.settings['nodes']:,} features; below, how far finite models on these "
            "scales are from the infinite one, in logits: rms over the test's images."
            if measured.distances
            else "",
            "ADAM*'s formula is our reconstruction (B), not the paper's text; the starred rules "
            "besides are ours.",
        ]
    )
