# SPDX-License-Identifier: Apache-2.0
"""Measurements of `expected_value` as the experiment writes them, from a known truth."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from infwidth.experiments.expected_value.measured import squares_and_products
from tests.experiments.tables import write_measurements


@dataclasses.dataclass(frozen=True)
class Truth:
    """Outputs of the infinite models have a mean square of `size`²; all else is relative to it."""

    fixed_widths: tuple[int, ...] = (1, 16, 256)
    features: int = 8192
    fixed_bias: float = 0.0
    trained_widths: tuple[int, ...] = (16, 32, 64, 128)
    inits_per_unit: int = 8
    bias: float = 4.0
    """The trained bias at width 1; it falls as 1/H."""
    size: float = 3.0
    outputs: int = 12
    cases: tuple[str, ...] = ("adam_star", "sgd", "sgd_squared")


def write(folder: Path, truth: Truth) -> Path:
    """Writes the tables and settings; returns the folder."""
    rng = np.random.default_rng(0)
    K = truth.outputs
    fixed = []
    for width in truth.fixed_widths:
        inits, sd = truth.features // width, truth.size * 2 / np.sqrt(width)
        d_RxK = truth.size * truth.fixed_bias + sd * rng.normal(size=(inits, K))
        cell = {"width": width, "point": np.arange(K), "output": 0, "inits": inits}
        moments = {"mean": d_RxK.mean(axis=0), "variance": d_RxK.var(axis=0, ddof=1)}
        fixed.append(pd.DataFrame(cell | moments))
    trained = []
    for case in truth.cases:
        for width in truth.trained_widths:
            inits = truth.inits_per_unit * width
            noise_RxK = rng.normal(size=(inits, K)) / np.sqrt(width)
            square, product = squares_and_products(truth.size * (truth.bias / width + noise_RxK))
            cell = {"case": case, "width": width, "init": np.arange(inits)}
            trained.append(pd.DataFrame(cell | {"square": square, "product": product}))
    infinite = [{"case": c, "mean_square": truth.size**2, "accuracy": 1.0} for c in truth.cases]
    return write_measurements(
        folder,
        "expected_value",
        {"fixed": pd.concat(fixed), "trained": pd.concat(trained), "infinite": infinite},
        expected_value={"classes": 3, "trained": {"inits_per_unit": truth.inits_per_unit}},
        statistics={"confidence": 0.95},
    )
