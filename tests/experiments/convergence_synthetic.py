# SPDX-License-Identifier: Apache-2.0
"""Measurements of finite models whose rate of convergence is known, in the experiment's form."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.experiments.tables import write_measurements

SIZE = {"train": 2.0, "test": 1.5}


@dataclass(frozen=True)
class Truth:
    """What the measurements are drawn from."""

    widths: tuple[int, ...] = (32, 64, 128, 256, 512, 1024)
    seeds: int = 8
    steps: tuple[int, ...] = (1, 10, 100)
    slope: float = -0.5
    slope_sd: float = 0.005
    adam_gap: float = 0.4
    slope_from: int = 128
    judge: bool = True


def write(folder: Path, truth: Truth) -> Path:
    """Writes a folder of measurements."""
    rng = np.random.default_rng(0)
    seeds = list(range(10, 10 + truth.seeds))
    slope_R = truth.slope + truth.slope_sd * rng.standard_normal(truth.seeds)
    curves, limits, products, gaps = [], [], [], []
    for split, size in SIZE.items():
        for rule in ("sgd", "momentum", "adam_star", "adam"):
            for step in truth.steps:
                growth = step / truth.steps[-1]
                scores = {"rule": rule, "step": step, "split": split, "accuracy": 0.9}
                scores |= {"rms_outputs": size * growth, "rms_centred": 0.9 * size * growth}
                if rule != "adam":
                    limits.append(scores | {"loss": 0.2 - 0.1 * growth})
                for seed, slope in zip(seeds, slope_R, strict=True):
                    curves += [
                        scores
                        | {"width": width, "seed": seed, "loss": 0.2 - 0.1 * growth + 1 / width}
                        | {"distance": size * growth * width**slope}
                        for width in truth.widths
                    ]
        for view in ("outputs", "centred"):
            for width in truth.widths:
                for rule, gap in (("adam_star", 0.0), ("adam", truth.adam_gap)):
                    # Differences: the gap along one output, and noise of its own for each seed.
                    d_RxF = rng.standard_normal((truth.seeds, 400)) * size / np.sqrt(width)
                    d_RxF[:, 0] += gap * np.sqrt(400)
                    product_RxR = d_RxF @ d_RxF.T / 400
                    products += [
                        {"rule": rule, "width": width, "view": view, "split": split}
                        | {"seed_a": a, "seed_b": b, "product": product_RxR[i, j]}
                        for i, a in enumerate(seeds)
                        for j, b in enumerate(seeds)
                        if i <= j
                    ]
                references = ("adam_star", "widest") if truth.seeds > 1 else ("adam_star",)
                gaps += [
                    {"width": width, "seed": seed, "reference": reference, "view": view}
                    | {"split": split, "distance": size / np.sqrt(width)}
                    for seed in seeds
                    for reference in references
                ]
    return write_measurements(
        folder,
        "convergence",
        {"curves": curves, "limits": limits, "products": products, "gaps": gaps},
        convergence={"slope_from": truth.slope_from, "slope_margin": 0.03},
        statistics={"confidence": 0.95, "judge": truth.judge},
    )
