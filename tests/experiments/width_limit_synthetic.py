# SPDX-License-Identifier: Apache-2.0
"""Measurements of losses over width as the experiment writes them, from a law with known limits."""

import json
import math
from pathlib import Path

import numpy as np

from infwidth.config.settings import ModelSettings, Settings
from tests.experiments.tables import write_table

LIMITS = {
    ("unfrozen", "mean-field"): 1.40,
    ("unfrozen", "ntk"): 1.55,
    ("adam_star", "mean-field"): 1.70,
    ("adam_star_normalized", "mean-field"): 1.65,
}
FROZEN = {("frozen", "mean-field"): 1.60}
"""Of one more variant, which is not among those written by default."""
FACTORS = {
    "frozen": 0.4,
    "unfrozen": 1.2,
    "adam_star": 0.2,
    "adam_star_normalized": 0.3,
}
EXPONENT = 0.7


def write(
    folder: Path,
    widths=(16, 32, 64, 256, 512, 1024),
    seeds=(10, 11, 12, 13, 14),
    ntk_seeds=(10, 11, 12),
    variants=("unfrozen", "adam_star", "adam_star_normalized"),
    diverged=(),
    noise=0.0,
    interior=True,
) -> Path:
    """Writes runs and settings; `diverged` are (variant, parametrization, width, seed)."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)

    def row(variant, parametrization, width, seed, limit):
        lost = (variant, parametrization, width, seed) in diverged
        loss = limit + 0.02 * seed + FACTORS[variant] * width**-EXPONENT + noise * rng.normal()
        return {
            "condition": parametrization,
            "role": "report",
            "variant": variant,
            "width": float(width),
            "seed": seed,
            "status": "diverged" if lost else "done",
            "test_loss": math.nan if lost else loss,
        }

    runs = [
        row(variant, parametrization, width, seed, limit)
        for (variant, parametrization), limit in (LIMITS | FROZEN).items()
        if variant in variants
        for width in widths
        for seed in (ntk_seeds if parametrization == "ntk" else seeds)
    ]
    write_table(folder, "width_limit", "runs", runs)
    default = Settings().model_dump(mode="json")
    default["width_limit"] |= {"seeds": list(seeds), "ntk_seeds": len(ntk_seeds)}
    entry = {"interior": interior, "note": "interior" if interior else "κ at the lower edge"}
    settings = {
        "name": "synthetic",
        "commit": "0" * 40,
        "corpus": "the presidents' annual messages, one domain",
        "model": ModelSettings().model_dump(),
        **{name: default[name] for name in ("training", "width_limit")},
        "statistics": default["statistics"],
        "selection": {
            **{f"mean-field-{v}": {"interior": True, "note": "interior"} for v in variants},
            "ntk-unfrozen": entry | {"learning_rate": 3.0, "kappa": 0.3},
        },
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    return folder
