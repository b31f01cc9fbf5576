# SPDX-License-Identifier: Apache-2.0
"""Measurements of `architectures` as the experiment writes them, from a known truth."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from infwidth.config.variants import VARIANTS
from tests.experiments.tables import write_measurements

LEVEL = {
    "unfrozen": 0.1,
    "frozen": 0.2,
    "ntk": 0.4,
    "adam_star": 0.25,
    "ntk_normalized": 0.35,
    "adam_star_normalized": 0.21,
    "constant": 1.0,
}
"""Mean loss by variant, at every width."""

IMAGES = 20


@dataclasses.dataclass(frozen=True)
class Truth:
    """Losses are `scale` times their level, plus what a seed shares and noise."""

    architectures: tuple[str, ...] = ("mlp", "cnn", "rnn")
    variants: tuple[str, ...] = tuple(LEVEL)
    widths: tuple[int, ...] = (16, 128, 1024)
    seeds: int = 5
    scale: float = 1.0
    seed_sd: float = 0.01
    noise: float = 0.001
    diverged: frozenset[tuple[str, str, int, int]] = frozenset()
    """As (architecture, variant, width, seed)."""
    edge: frozenset[tuple[str, str]] = frozenset()
    """As (architecture, variant): rates that are not interior."""


def write(folder: Path, truth: Truth) -> Path:
    """Writes the tables and settings; returns the folder."""
    rng = np.random.default_rng(0)
    runs, images, selection = [], [], []
    for architecture in truth.architectures:
        shared = truth.seed_sd * rng.normal(size=truth.seeds)
        image_I = 0.1 * rng.normal(size=IMAGES)
        image_I -= image_I.mean()
        for variant in truth.variants:
            place = {"architecture": architecture, "variant": variant}
            trained = variant == "unfrozen"
            edge = (architecture, variant) in truth.edge
            chosen = {
                "learning_rate": 1.0 + list(VARIANTS).index(variant),
                "kappa": 3.0 if trained else None,
            }
            note = "learning rate at the higher edge of its grid" if edge else "interior"
            selection.append(place | chosen | {"interior": not edge, "note": note})
            for width in (0,) if variant == "constant" else truth.widths:
                for s in range(truth.seeds):
                    lost = (architecture, variant, width, 10 + s) in truth.diverged
                    loss = truth.scale * LEVEL[variant] + shared[s] + truth.noise * rng.normal()
                    loss = np.nan if lost else loss
                    run = place | {"width": width, "seed": 10 + s}
                    scores = {"train_loss": loss / 2, "test_loss": loss}
                    scores |= {"test_accuracy": 1 - loss / 2}
                    status = {"role": "report", "status": "diverged" if lost else "done"}
                    runs.append(run | chosen | status | scores)
                    table = {"image": np.arange(IMAGES), "loss": loss + image_I}
                    images.append(pd.DataFrame(table).assign(**run))
    return write_measurements(
        folder,
        "architectures",
        {"runs": runs, "selection": selection, "images": pd.concat(images)},
        architectures={
            "seeds": list(range(10, 10 + truth.seeds)),
            "test_images": IMAGES,
            "steps": 300,
            "batch_size": 64,
            "reference_width": 128,
        },
        statistics={"confidence": 0.95, "gap_fraction": 0.5},
    )
