# SPDX-License-Identifier: Apache-2.0
"""Measurements of losses over width as the experiment writes them, from a law with known limits."""

import math
from pathlib import Path

import numpy as np

from infwidth.config.settings import Settings
from tests.experiments.tables import write_measurements

LIMITS = {
    ("unfrozen", "mean-field"): 1.40,
    ("unfrozen", "ntk"): 1.55,
    ("adam_star", "mean-field"): 1.70,
    ("adam_star_normalized", "mean-field"): 1.65,
}
FROZEN = {("frozen", "mean-field"): 1.60}
"""Of one more variant, which is not among those written by default."""
FACTORS = {"frozen": 0.4, "unfrozen": 1.2, "adam_star": 0.2, "adam_star_normalized": 0.3}
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
    rng = np.random.default_rng(1)
    runs = []
    for (variant, parametrization), limit in (LIMITS | FROZEN).items():
        for width in widths if variant in variants else ():
            for seed in ntk_seeds if parametrization == "ntk" else seeds:
                lost = (variant, parametrization, width, seed) in diverged
                loss = limit + 0.02 * seed + FACTORS[variant] * width**-EXPONENT
                loss += noise * rng.normal()
                runs.append(
                    {"condition": parametrization, "role": "report", "variant": variant}
                    | {"width": float(width), "seed": seed}
                    | {"status": "diverged" if lost else "done"}
                    | {"test_loss": math.nan if lost else loss}
                )
    settings = Settings().model_dump(mode="json")
    settings["width_limit"] |= {"seeds": list(seeds), "ntk_seeds": len(ntk_seeds)}
    entry = {"interior": interior, "note": "interior" if interior else "κ at the lower edge"}
    right = {"interior": True, "note": "interior"}
    return write_measurements(
        folder,
        "width_limit",
        {"runs": runs},
        corpus="the presidents' annual messages, one domain",
        selection={f"mean-field-{name}": right for name in variants} | {"ntk-unfrozen": entry},
        **{name: settings[name] for name in ("model", "training", "width_limit", "statistics")},
    )
