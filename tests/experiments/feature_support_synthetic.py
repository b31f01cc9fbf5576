# SPDX-License-Identifier: Apache-2.0
"""Measurements of `feature_support` as the experiment writes them, from a known truth."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from tests.experiments.tables import write_measurements

LIMITED = ("subspace", "cone", "atoms", "quantised_3")
CASES = ("total", "total_plane", "subspace", "cone", "cone_erf", "atoms", "quantised_3")


@dataclasses.dataclass(frozen=True)
class Truth:
    """Errors are the residual, `left` of it by the readout's kind, and a part that falls as 1/H."""

    cases: tuple[str, ...] = CASES
    widths: tuple[int, ...] = (16, 64, 256, 4096)
    seeds: int = 5
    left: float = 0.0
    trained_left: float = 0.03
    found: int = 20
    alarms: int = 1


def write(folder: Path, truth: Truth) -> Path:
    """Writes tables and settings."""
    rng = np.random.default_rng(0)
    residuals, errors, functions, reports = [], [], [], []
    x_N = np.linspace(-3, 3, 31)
    for place, case in enumerate(truth.cases):
        limited = case in LIMITED
        for seed in range(truth.seeds):
            own = 0.4 / (1 + place) + 0.01 * seed if limited else 0.0
            residuals.append({"case": case, "seed": seed, "inputs": 1, "residual": own})
            for width in truth.widths:
                cell = {"case": case, "seed": seed, "width": width}
                falls = 2 / width + 0.001 * abs(rng.normal())
                error = own + truth.left + falls
                errors.append(cell | {"readout": "best", "steps": 0, "error": error})
                for steps in (100, 400):
                    slow = truth.trained_left * 400 / steps
                    error = own + slow + falls
                    errors.append(cell | {"readout": "adam_star", "steps": steps, "error": error})
        if "plane" not in case and case != "subspace":
            y_N = np.abs(x_N) - 1
            values = {"x": x_N, "target": y_N, "best": 0.9 * y_N, "adam_star": 0.8 * y_N}
            functions.append(pd.DataFrame({"case": case} | values))
        alarms = truth.alarms if case.startswith("total") else 0
        found = truth.found if limited else alarms
        for seed in range(20):
            reports.append({"case": case, "seed": seed, "missing": seed < found})
    return write_measurements(
        folder,
        "feature_support",
        {
            "residuals": residuals,
            "errors": errors,
            "functions": pd.concat(functions),
            "reports": reports,
        },
        feature_support={
            "widths": list(truth.widths),
            "seeds": list(range(truth.seeds)),
            "margin": 0.01,
            "trained_margin": 0.05,
        },
        statistics={"confidence": 0.95},
    )
