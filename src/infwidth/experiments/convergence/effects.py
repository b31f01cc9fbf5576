# SPDX-License-Identifier: Apache-2.0
"""What the widening of finite models says on the claims."""

import math

import numpy as np
from scipy import special

from infwidth.experiments.convergence.measured import KERNEL_RULES, SPLITS, VIEWS, Convergence
from infwidth.stats.effects import Effect

_SPLIT = {"test": "test", "train": "training"}


def effects(measured: Convergence) -> dict[str, list[Effect]]:
    """Slopes over width, and how far from ADAM*'s limit elementwise Adam ends.

    `slope`: of log distance from the exact kernel machine on log width, fitted for each seed, of
    every rule with a kernel on test and training examples. `adam_limit_distance`: the squared
    distance of elementwise Adam's limit from ADAM*'s, by the jackknife over seeds.
    """
    slopes = [
        _of_slopes(f"{label}, {_SPLIT[split]}", measured.slopes(rule, split))
        for rule, label in KERNEL_RULES.items()
        for split in SPLITS
    ]
    distances = [_of_limit(measured, split, view) for view in VIEWS for split in SPLITS]
    return {"slope": slopes, "adam_limit_distance": distances}


def _of_slopes(where: str, slope_R: np.ndarray) -> Effect:
    finished_R = slope_R[np.isfinite(slope_R)]
    return Effect.of_repeats(where, finished_R, lost=len(slope_R) - len(finished_R))


def _of_limit(measured: Convergence, split: str, view: str) -> Effect:
    gap = measured.limit_gap(split, view)
    seeds = len(measured.seeds)
    error = math.nan
    if seeds > 1:
        error = gap.half_width / float(special.stdtrit(seeds - 1, (1 + measured.confidence) / 2))
    return Effect(f"{view}, {_SPLIT[split]}", gap.estimate, error, seeds - 1, seeds)
