# SPDX-License-Identifier: Apache-2.0
"""What the readings say on the claims: by cell, and by factor.

A cell has two seeds, too few for an error of its own: all cells of an estimand share the variance
over seeds, with a degree of freedom for every seed beyond a cell's first.

Legend: C cells, S seeds.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from infwidth.experiments.measured import CONTRASTS, Study, Weights
from infwidth.stats.effects import Effect

READINGS = ("adam_star_global", "adam_star", "adam_star_error", "adam_star_measured")
"""Readings A, B and C of ADAM*, and measured scales (R)."""

ESTIMANDS: dict[str, Weights] = {
    **{f"{name}_minus_frozen": CONTRASTS[f"{name}_minus_frozen"] for name in ("ntk", *READINGS)},
    **{f"{name}_beyond_half": {"ntk": 0.5, name: -1, "frozen": 0.5} for name in READINGS},
    "optimizer_minus_features": CONTRASTS["optimizer_minus_features"],
}
"""By name, weights of losses. `<reading>_beyond_half` is (N − reading) − ½ (N − F): above 0 where
the reading closes more than half of the gap."""


def effects(measured: Study) -> dict[str, list[Effect]]:
    """Every estimand by cell; with the ending `_main` the factors' main effects on it.

    In nats per token. A main effect is the mean over the cells at the high level less that over
    those at the low one; the centre has no part in it.
    """
    found: dict[str, list[Effect]] = {}
    for name, weights in ESTIMANDS.items():
        cells = cells_of(measured, weights)
        found[name] = list(cells.values())
        found[f"{name}_main"] = main_effects(measured, cells)
    return found


def cells_of(measured: Study, weights: Weights) -> dict[str, Effect]:
    """An estimand in every cell where it was measured, by condition; the error is pooled."""
    width = int(measured.settings["readings"]["width"])
    own = {
        name: measured.contrast(
            condition["label"], {(name, variant, width): w for variant, w in weights.items()}
        )
        for name, condition in measured.conditions.items()
        if measured.ran(name, weights, width)
    }
    repeated = [cell for cell in own.values() if cell.count > 1]
    freedom = sum(cell.count - 1 for cell in repeated)
    squares = sum((cell.count - 1) * cell.count * cell.error**2 for cell in repeated)
    sd = math.sqrt(squares / freedom) if freedom else math.nan
    return {
        name: replace(
            cell,
            error=sd / math.sqrt(cell.count) if cell.count else math.nan,
            freedom=freedom,
        )
        for name, cell in own.items()
    }


def main_effects(measured: Study, cells: Mapping[str, Effect]) -> list[Effect]:
    """The main effect of each factor on an estimand, from its cells."""
    some = list(cells.values())
    estimate_C, error_C = (np.array([getattr(c, n) for c in some]) for n in ("estimate", "error"))
    found = []
    for factor in measured.settings["readings"]["factors"]:
        level_C = np.array([measured.conditions[name]["factors"][factor] for name in cells])
        high, low = (int((level_C == sign).sum()) for sign in (1, -1))
        if high and low:
            weight_C = np.where(level_C > 0, 1 / high, np.where(level_C < 0, -1 / low, 0.0))
            error = float(np.sqrt(np.square(weight_C * error_C).sum()))
            counts = [sum(getattr(cell, name) for cell in some) for name in ("count", "lost")]
            estimate = float(weight_C @ estimate_C)
            found.append(Effect(factor, estimate, error, some[0].freedom, *counts))
    return found
