# SPDX-License-Identifier: Apache-2.0
"""Measurements of a study as `infwidth gather` writes them, by its own plan, from a formula."""

import math
from pathlib import Path

from infwidth.config.settings import Settings
from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.study import conditions
from tests.experiments.tables import write_measurements

ABOVE_FROZEN = {
    name: 0.01 * (place - 0.5) for place, name in enumerate(ALL_VARIANTS) if name != "frozen"
} | {"frozen": 0.0}
"""Nats by which a variant's loss is above that of frozen features."""


def plain(condition, variant, width, seed):
    """A loss with a part of the seed's own in every difference."""
    place = list(ALL_VARIANTS).index(variant)
    return 1.6 + ABOVE_FROZEN[variant] + 0.1 * seed + 1e-3 * math.sin(7 * place + 3 * seed)


def write(folder: Path, study: str, settings: Settings | None = None, loss=plain, lost=()) -> Path:
    """Writes tables and settings; `loss` is of (condition, variant, width, seed), `lost` are such.

    By default with the default's settings.
    """
    settings = settings or Settings()
    planned = conditions(study, settings)
    arms = [(c, variant, width) for c in planned for variant, width in c.arms]
    runs = []
    for condition, variant, width in arms:
        for seed in condition.seeds:
            place = (condition.name, variant, width, seed)
            value = math.nan if place in lost else loss(*place)
            runs.append(
                dict(zip(("condition", "variant", "width", "seed"), place, strict=True))
                | {"key": "-".join(map(str, place)), "role": "report"}
                | {"status": "diverged" if place in lost else "done"}
                | {"train_loss": value - 0.25, "test_loss": value}
            )
    curves = [
        {"key": row["key"], "step": step, "loss": 3 + row["test_loss"] / step}
        for row in runs
        for step in (1, 2)
    ]
    entry = {"learning_rate": 3.0, "kappa": None, "interior": True, "note": "interior"}
    kept = ("label", "factors", "arms", "seeds")
    return write_measurements(
        folder,
        study,
        {"runs": runs, "curves": curves},
        corpus="a synthetic corpus",
        conditions={c.name: {name: getattr(c, name) for name in kept} for c in planned},
        selection={f"{c.name}-{variant}-{width}": entry for c, variant, width in arms},
        **settings.model_dump(mode="json", include={"model", "training", "statistics", study}),
    )
