# SPDX-License-Identifier: Apache-2.0
"""What the width experiment says on the claims: contrasts of losses, paired by seed.

Legend: S seeds. Every loss is in nats per token.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from infwidth.config.variants import VARIANTS
from infwidth.experiments.lm_width.comparisons import GAP, document_contrast, gap_effect
from infwidth.experiments.lm_width.measured import Measurements
from infwidth.stats.effects import Effect, shared_seeds, weighted_effect

CONTRASTS: dict[str, dict[str, float]] = {
    "ntk_minus_frozen": {"ntk": 1, "frozen": -1},
    "adam_star_minus_frozen": {"adam_star": 1, "frozen": -1},
    "ntk_normalized_minus_frozen": {"ntk_normalized": 1, "frozen": -1},
    "adam_star_normalized_minus_frozen": {"adam_star_normalized": 1, "frozen": -1},
    "ntk_minus_adam_star": {"ntk": 1, "adam_star": -1},
    "frozen_minus_unfrozen": {"frozen": 1, "unfrozen": -1},
    "optimizer_minus_features": {"ntk": 1, "frozen": -2, "unfrozen": 1},
}
"""Weights of the variants' losses in each contrast. The last is (ntk − frozen) − (frozen −
unfrozen): what the optimizer costs, less what frozen features cost."""

Cell = tuple[str, int]
"""A variant and a width."""


def effects(measured: Measurements) -> dict[str, list[Effect]]:
    """Every contrast by width, ascending, with the interval over test documents.

    Beside them: `ntk_minus_frozen_wide`, at widths of at least 4 E; `gap_closed`, the share of the
    gap ntk − frozen that ADAM* closes, with Fieller's interval; `sgd_loss_over_width`, the loss of
    `ntk` at the largest width minus that at each narrower one; `diverged_runs`, how many reported
    runs of each variant diverged.
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
    found["ntk_minus_frozen_wide"] = [e for e in found["ntk_minus_frozen"] if e.where in wide]
    found["gap_closed"] = [
        gap_effect(measured, _width(width), width)
        for width in measured.widths
        if _ran(measured, [(variant, width) for variant in GAP])
    ]
    found["sgd_loss_over_width"] = _over_width(measured, "ntk")
    found["diverged_runs"] = [_diverged(measured, variant) for variant in measured.variants]
    return found


def contrast(measured: Measurements, where: str, weights: Mapping[Cell, float]) -> Effect:
    """The mean over seeds of a weighted sum of losses."""
    terms = [(weight, measured.losses(*cell)) for cell, weight in weights.items()]
    effect = weighted_effect(where, terms, measured.seeds)
    seeds = shared_seeds([losses for _, losses in terms], measured.seeds)
    documents = document_contrast(measured, weights, effect.estimate, seeds)
    return replace(effect, documents=documents)


def _over_width(measured: Measurements, variant: str) -> list[Effect]:
    *narrower, widest = [w for w in measured.widths if _ran(measured, [(variant, w)])] or [0]
    return [
        contrast(measured, f"{widest:,} against {w:,}", {(variant, widest): 1, (variant, w): -1})
        for w in narrower
    ]


def _diverged(measured: Measurements, variant: str) -> Effect:
    runs = measured.reported[measured.reported["variant"] == variant]
    diverged = float((runs["status"] != "done").sum())
    missing = runs["width"].nunique() * len(measured.seeds) - len(runs)
    return Effect(VARIANTS[variant].label, diverged, 0.0, math.inf, len(runs), missing)


def _ran(measured: Measurements, cells: Mapping[Cell, float] | Sequence[Cell]) -> bool:
    return not any(measured.cell(*cell).empty for cell in cells)


def _width(width: int) -> str:
    return f"H = {width:,}"
