# SPDX-License-Identifier: Apache-2.0
"""What the width experiment says on the claims: contrasts of losses, paired by seed.

Legend: S seeds. Every loss is in nats per token.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.lm_width.measured import GAP, Cell, Measurements
from infwidth.stats.effects import Effect, paired_effect, shared_seeds, weighted_effect

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


def effects(measured: Measurements) -> dict[str, list[Effect]]:
    """Every contrast by width, ascending, with the interval over test documents.

    Beside them: those of `WIDE`, at widths of at least 4 E; `gap_closed`, the share of the gap ntk
    − frozen that ADAM* closes, with Fieller's interval; `sgd_loss_over_width`, the loss of `ntk` at
    one rate at the largest width minus that at each narrower one; `diverged_runs`, how many
    reported runs of each variant diverged.
    """
    places = {f"H = {width:,}": width for width in measured.widths}
    found: dict[str, list[Effect]] = {
        name: [
            _contrast(measured, where, {(variant, width): w for variant, w in weights.items()})
            for where, width in places.items()
            if _ran(measured, weights, width)
        ]
        for name, weights in CONTRASTS.items()
    }
    least = 4 * measured.settings["model"]["d_model"]
    for name in WIDE:
        found[f"{name}_wide"] = [each for each in found[name] if places[each.where] >= least]
    found["gap_closed"] = [
        measured.gap_effect(where, width)
        for where, width in places.items()
        if _ran(measured, GAP, width)
    ]
    found["sgd_loss_over_width"] = list(_over_width(measured))
    found["diverged_runs"] = [_diverged(measured, variant) for variant in measured.variants]
    return found


def _contrast(measured: Measurements, where: str, weights: Mapping[Cell, float]) -> Effect:
    """The mean over seeds of a weighted sum of losses."""
    terms = [(weight, measured.losses(*cell)) for cell, weight in weights.items()]
    effect = weighted_effect(where, terms, measured.seeds)
    seeds = shared_seeds([losses for _, losses in terms], measured.seeds)
    return replace(effect, documents=measured.document_contrast(weights, effect.estimate, seeds))


def _over_width(measured: Measurements) -> Iterator[Effect]:
    runs = {width: measured.cell("ntk", width, "one_rate") for width in measured.widths}
    losses = {width: measured.losses("ntk", width, "one_rate") for width in runs}
    *narrower, widest = [width for width in runs if not runs[width].empty] or [0]
    for width in narrower:
        planned = {int(seed) for at in (widest, width) for seed in runs[at]["seed"]}
        where = f"{widest:,} against {width:,}"
        yield paired_effect(where, losses[widest], losses[width], sorted(planned))


def _diverged(measured: Measurements, variant: str) -> Effect:
    runs = measured.reported[measured.reported["variant"] == variant]
    diverged = float((runs["status"] != "done").sum())
    missing = runs["width"].nunique() * len(measured.seeds) - len(runs)
    return Effect(ALL_VARIANTS[variant].label, diverged, 0.0, math.inf, len(runs), missing)


def _ran(measured: Measurements, variants: Iterable[str], width: int) -> bool:
    return not any(measured.cell(variant, width).empty for variant in variants)
