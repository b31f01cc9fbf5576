# SPDX-License-Identifier: Apache-2.0
"""Measurements of `feature_selection` as the experiment writes them, from a known truth."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np

from tests.experiments.tables import write_measurements

ALIGNED = {"unfrozen": 0.95, "adam": 0.4, "adam_star": 0.45, "sgd": 0.35}
AT_RANDOM = 0.1
LOSSES = {"unfrozen": 1e-6, "adam": 0.04, "adam_star": 0.05, "sgd": 0.08}
"""By rule."""


@dataclasses.dataclass(frozen=True)
class Truth:
    """What is measured; every value is multiplied by a factor of its seed, exp(0.1 z)."""

    seeds: tuple[int, ...] = (10, 11, 12, 13)
    dimensions: tuple[int, ...] = (1, 2)
    kappas: tuple[float, ...] = (0.0, 0.3, 1.0)
    ratio_widths: tuple[int, ...] = (64, 1024, 16384)
    fit_dimensions: tuple[int, ...] = (4, 16)
    fit_widths: tuple[int, ...] = (32, 128, 512)
    fit_slope: float = -0.35
    widths: tuple[int, ...] = (128, 512)
    steps: tuple[int, ...] = (1, 10, 100)
    shares: tuple[float, ...] = (0.01, 0.05, 0.5)
    diverged: frozenset[tuple[str, int, int]] = frozenset()
    """(rule, width, seed) of the planted study."""
    edge: str = ""
    """The rule whose rate is not interior."""


def write(folder: Path, truth: Truth) -> Path:
    """Writes the tables and settings; returns the folder."""
    rng = np.random.default_rng(0)
    factor = {seed: float(np.exp(0.1 * rng.normal())) for seed in truth.seeds}
    ratio, fits, planted, infinite, pruning = [], [], [], [], []
    for D, kappa, seed, width in itertools.product(
        truth.dimensions, truth.kappas, truth.seeds, truth.ratio_widths
    ):
        price = 10 * np.exp(4 * kappa) * factor[seed]
        ratio.append(
            {
                **{"dimension": D, "kappa": kappa, "seed": seed, "width": width},
                **{"error": factor[seed] * D * width**-0.5, "moved": 0.5 * kappa},
                **{"trained_second_moment": 10.0, "price": price},
                **{"coarse_price": price / (1 + kappa)},
            }
        )
    for D, seed, width in itertools.product(truth.fit_dimensions, truth.seeds, truth.fit_widths):
        error = factor[seed] * (D / 16) * width**truth.fit_slope
        row = {"dimension": D, "seed": seed, "width": width, "error": error}
        fits.append(row | {"price": 3 * width**0.8})
    for rule, width, seed in itertools.product(ALIGNED, truth.widths, truth.seeds):
        lost = (rule, width, seed) in truth.diverged
        for place, step in enumerate(truth.steps, start=1):
            reached = AT_RANDOM + (ALIGNED[rule] - AT_RANDOM) * place / len(truth.steps)
            planted.append(
                {
                    **{"rule": rule, "width": width, "seed": seed, "step": step},
                    "aligned": np.nan if lost else reached + 0.01 * (factor[seed] - 1),
                    "at_random": np.nan if lost else AT_RANDOM,
                    "loss": np.nan if lost else LOSSES[rule] * factor[seed],
                }
            )
    for rule, seed in itertools.product(("adam_star", "sgd"), truth.seeds):
        loss = 0.9 * LOSSES[rule] * factor[seed]
        infinite.append({"rule": rule, "seed": seed, "loss": loss})
    frozen = [rule for rule in ALIGNED if rule != "unfrozen"]
    for rule, seed, retrained in itertools.product(frozen, truth.seeds, (False, True)):
        place = {"rule": rule, "seed": seed, "retrained": retrained}
        whole = {"share": 1.0, "kept": 1000, "kind": "whole", "loss": 0.05 * factor[seed]}
        pruning.append(place | whole)
        for share in truth.shares:
            random = (0.05 + 0.01 / share) * factor[seed]
            for kind, loss in (("random", random), ("top", 0.5 * random)):
                cell = {"share": share, "kept": round(1000 * share), "kind": kind, "loss": loss}
                pruning.append(place | cell)
    selection = [
        {"study": "planted", "rule": rule, "interior": rule != truth.edge} for rule in ALIGNED
    ]
    tables = {
        "density_ratio": ratio,
        "least_squares": fits,
        "planted": planted,
        "infinite": infinite,
        "pruning": pruning,
        "selection": selection,
        "tuning": [{"study": "planted", "rule": "sgd", "seed": 0}],
    }
    own = {
        "seeds": list(truth.seeds),
        "planted": {"dimension": 16},
        "pruning": {"judged_share": 0.05},
    }
    statistics = {"confidence": 0.95}
    return write_measurements(
        folder, "feature_selection", tables, feature_selection=own, statistics=statistics
    )
