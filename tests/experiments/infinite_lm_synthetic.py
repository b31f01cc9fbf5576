# SPDX-License-Identifier: Apache-2.0
"""Measurements of the infinite-width transformer as the experiment writes them, from a formula."""

import math
from pathlib import Path

from infwidth.config.settings import ModelSettings
from infwidth.experiments.infinite_lm.settings import InfiniteLmSettings
from tests.experiments.tables import write_measurements

EXTRA = (16, 32, 512)
STEPS = range(10, 101, 10)
LEVEL = {
    **{"unfrozen": 2.1, "frozen": 2.3, "ntk": 2.32, "adam_star": 2.35},
    **{"ntk_normalized": 2.31, "adam_star_normalized": 2.34, "constant": 2.45},
}


def gap(width, step):
    """By how much a finite model's loss is above the infinite one's: the sign alternates."""
    return (-1) ** (step // 10) * 0.5 / width if 0 < width < math.inf else 0.0


def write(
    folder: Path,
    variants=tuple(LEVEL),
    infinite=("ntk", "adam_star"),
    widths=(64, 256, 1024, 4096),
    seeds=(10, 11, 12),
    diverged=(),
    edge=(),
) -> Path:
    """Writes runs, curves and settings; `diverged` are (variant, width, seed)."""
    runs, curves = [], []
    for name in variants:
        own = [0.0] if name == "constant" else [*map(float, widths)]
        own += [math.inf, *map(float, EXTRA)] if name in infinite else []
        for width in own:
            for seed in seeds:
                key = f"{name}-{width}-{seed}"
                lost = (name, width, seed) in diverged
                level = LEVEL[name] + 0.05 * seed
                role = "extra" if width in EXTRA else "report"
                row = {"key": key, "role": role, "variant": name, "width": width, "seed": seed}
                row |= {"learning_rate": 3.0, "status": "diverged" if lost else "done"}
                runs.append(row | {"test_loss": math.nan if lost else level + gap(width, 0)})
                curves += [
                    {"key": key, "step": s, "loss": level + 10 / s + gap(width, s)}
                    for s in STEPS
                    if role == "report" and (s <= 50 or not lost)
                ]
    tuned = {"key": "t", "role": "tuning", "variant": variants[0], "width": 256.0, "seed": 0}
    runs.append(tuned | {"learning_rate": 9.0, "status": "done", "test_loss": math.nan})
    note = "learning rate at the higher edge of its grid"
    return write_measurements(
        folder,
        "infinite_lm",
        {"runs": runs, "curves": curves},
        corpus="the presidents' annual messages, one domain",
        model=ModelSettings().model_dump(),
        infinite_lm=InfiniteLmSettings(seeds=list(seeds)).model_dump(),
        statistics={"confidence": 0.95},
        selection={
            name: {"interior": name not in edge, "note": note if name in edge else "interior"}
            for name in variants
        },
    )
