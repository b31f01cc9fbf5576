# SPDX-License-Identifier: Apache-2.0
"""Measurements of a study as `infwidth gather` writes them, by its own plan, from a formula."""

import json
import math
from pathlib import Path

from infwidth.config.settings import Settings
from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.schema import STUDY
from infwidth.experiments.study import conditions

ABOVE_FROZEN = {
    name: 0.01 * (place - 0.5) for place, name in enumerate(ALL_VARIANTS) if name != "frozen"
} | {"frozen": 0.0}
"""Nats by which a variant's loss is above that of frozen features."""


def plain(condition, variant, width, seed):
    """A loss with a part of the seed's own in every difference."""
    place = list(ALL_VARIANTS).index(variant)
    return 1.6 + ABOVE_FROZEN[variant] + 0.1 * seed + 1e-3 * math.sin(7 * place + 3 * seed)


def write(folder: Path, study: str, settings: Settings | None = None, loss=plain, lost=()) -> Path:
    """Writes tables and settings.

    Args:
      folder: to write.
      study: which.
      settings: of its plan; the default's by default.
      loss: of (condition, variant, width, seed), in nats per token.
      lost: (condition, variant, width, seed) of runs that diverged.
    """
    settings = settings or Settings()
    planned = conditions(study, settings)
    rows = []
    for condition in planned:
        for variant, width in condition.arms:
            for seed in condition.seeds:
                place = (condition.name, variant, width, seed)
                diverged = place in lost
                value = math.nan if diverged else loss(*place)
                blank = dict.fromkeys(STUDY["runs"].columns, 1)
                rows.append(
                    blank
                    | {
                        "key": "-".join(map(str, place)),
                        "condition": condition.name,
                        "role": "report",
                        "variant": variant,
                        "width": width,
                        "seed": seed,
                        "status": "diverged" if diverged else "done",
                        "train_loss": value - 0.25,
                        "test_loss": value,
                        "device": "cpu",
                    }
                )
    curves = [
        {"key": row["key"], "step": step, "loss": 3 + row["test_loss"] / step}
        for row in rows
        for step in (1, 2)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    STUDY["runs"].frame(rows).to_parquet(folder / "runs.parquet")
    STUDY["curves"].frame(curves).to_parquet(folder / "curves.parquet")
    selection = {
        f"{condition.name}-{variant}-{width}": {"learning_rate": 3.0, "kappa": None}
        | {"interior": True, "note": "interior", "trials": [], "extensions": 0}
        for condition in planned
        for variant, width in condition.arms
    }
    record = {
        "name": "synthetic",
        "commit": "0" * 40,
        "corpus": "a synthetic corpus",
        "conditions": {
            c.name: {"label": c.label, "factors": dict(c.factors), "arms": c.arms, "seeds": c.seeds}
            for c in planned
        },
        "selection": selection,
    }
    shown = settings.model_dump(mode="json", include={"model", "training", "statistics", study})
    (folder / "settings.json").write_text(json.dumps(shown | record))
    return folder
