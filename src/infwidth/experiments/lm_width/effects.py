# SPDX-License-Identifier: Apache-2.0
"""What the width experiment says on the claims: contrasts of losses, paired by seed.

Legend: S seeds. Every loss is in nats per token.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.lm_width.comparisons import GAP, document_contrast, gap_effect
from infwidth.experiments.lm_width.measured import Measurements
from infwidth.stats.effects import Effect, shared_seeds, weighted_effect

CONTRASTS: dict[str, dict[str, float]] = {
    "ntk_minus_frozen": {"ntk": 1, "frozen": -1},
    "adam_star_minus_frozen": {"adam_star": 1, "frozen": -1},
    "ntk_measured_minus_frozen": {"ntk_measured": 1, "frozen": -1},
    "adam_star_measured_minus_frozen": {"adam_star_measured": 1, "frozen": -1},
    "ntk_minus_adam_star": {"ntk": 1, "adam_star": -1},
    "frozen_minus_unfrozen": {"frozen": 1, "unfrozen": -1},
    "optimizer_minus_features": {"ntk": 1, "frozen": -2, "unfrozen": 1},
}
"""Weights of the variants' losses in each contrast. The last is (ntk − frozen) − (frozen −
unfrozen): what the optimizer costs, less what frozen features cost."""

WIDE = ("ntk_minus_frozen", "ntk_measured_minus_frozen", "adam_star_measured_minus_frozen")

Cell = tuple[str, int]
"""A variant and a width."""


def effects(measured: Measurements) -> dict[str, list[Effect]]:
    """Every contrast by width, ascending, with the interval over test documents.

    Beside them: those of `WIDE`, at widths of at least 4 E; `gap_closed`, the share of the gap ntk
    − frozen that ADAM* closes, with Fieller's interval; `sgd_loss_over_width`, the loss of `ntk` at
    one rate at the largest width minus that at each narrower one, and `tuned_sgd_loss_over_width`,
    the same where it is tuned at each; `diverged_runs`, how many reported runs of each variant
    diverged.
    """
    found: dict[str, list[Effect]] = {}
    for name, weights in CONTRASTS.items():
        places = [
            (_width(width), {(variant, width): weight for variant, weight in weights.items()})
            for width in measured.widths
        ]
        found[name] = [
            contrast(measured, where, terms) for where, terms in places if _ran(measured, terms)
        ]
    least = 4 * measured.settings["model"]["d_model"]
    wide = [_width(width) for width in measured.widths if width >= least]
    for name in WIDE:
        found[f"{name}_wide"] = [effect for effect in found[name] if effect.where in wide]
    found["gap_closed"] = [
        gap_effect(measured, _width(width), width)
        for width in measured.widths
        if _ran(measured, [(variant, width) for variant in GAP])
    ]
    found["sgd_loss_over_width"] = _over_width(measured, "ntk", "one_rate")
    found["tuned_sgd_loss_over_width"] = _over_width(measured, "ntk", "report")
    found["diverged_runs"] = [_diverged(measured, variant) for variant in measured.variants]
    return found


def contrast(
    measured: Measurements, where: str, weights: Mapping[Cell, float], role: str = "report"
) -> Effect:
    """The mean over seeds of a weighted sum of losses."""
    terms = [(weight, measured.losses(*cell, role)) for cell, weight in weights.items()]
    planned = sorted({int(s) for cell in weights for s in measured.cell(*cell, role)["seed"]})
    effect = weighted_effect(where, terms, measured.seeds if role == "report" else planned)
    if role != "report":
        return effect
    seeds = shared_seeds([losses for _, losses in terms], measured.seeds)
    documents = document_contrast(measured, weights, effect.estimate, seeds)
    return replace(effect, documents=documents)


def _over_width(measured: Measurements, variant: str, role: str) -> list[Effect]:
    ran = [w for w in measured.widths if not measured.cell(variant, w, role).empty]
    *narrower, widest = ran or [0]
    return [
        contrast(
            measured, f"{widest:,} against {w:,}", {(variant, widest): 1, (variant, w): -1}, role
        )
        for w in narrower
    ]


def _diverged(measured: Measurements, variant: str) -> Effect:
    runs = measured.reported[measured.reported["variant"] == variant]
    diverged = float((runs["status"] != "done").sum())
    missing = runs["width"].nunique() * len(measured.seeds) - len(runs)
    return Effect(ALL_VARIANTS[variant].label, diverged, 0.0, math.inf, len(runs), missing)


def _ran(measured: Measurements, cells: Mapping[Cell, float] | Sequence[Cell]) -> bool:
    return not any(measured.cell(*cell).empty for cell in cells)


def _width(width: int) -> str:
    return f"H = {width:,}"
