# SPDX-License-Identifier: Apache-2.0
"""Measurements of the ablation as the experiment writes them, by its own plan, from a formula."""

import math
from pathlib import Path

from infwidth.config.settings import Settings
from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.optimizer_ablation.plan import parts
from infwidth.experiments.optimizer_ablation.settings import CONTEXTS
from tests.experiments.tables import write_measurements

ABOVE_FROZEN = {
    name: 0.01 * (place - 4) for place, name in enumerate(ALL_VARIANTS) if name != "frozen"
} | {"frozen": 0.0}
"""Nats by which a variant's loss is above that of frozen features, in every context."""

SPREAD = {10: 0.0, 11: 0.004, 12: -0.004}
"""What a seed adds to a difference from frozen features; 20 and on as 10 and on."""

WIDER = {64: -0.02, 256: 0.0, 1024: 0.05}
"""What a width adds where each has a rate of its own, and takes where the trunk is fixed."""

STANDARD = 0.03
"""What the standard parametrization adds at every width but its own."""


def write(
    folder: Path,
    variants=tuple(ALL_VARIANTS),
    contexts=tuple(CONTEXTS),
    seeds=(10, 11, 12),
    diverged=(),
    edge=(),
) -> Path:
    """Writes runs and settings; `diverged` are (context, variant, seed), `edge` parts' names."""
    own = {"variants": variants, "contexts": contexts, "seeds": seeds}
    own["confirmation_seeds"] = [seed + 10 for seed in seeds]
    own = {name: list(values) for name, values in own.items()}
    settings = Settings.model_validate({"optimizer_ablation": own})
    rows, selection = [], {}
    for part in parts(settings):
        context, name = part.condition, part.variant
        for _, width in part.reports:
            for seed, first in zip(part.seeds, seeds, strict=True):
                lost = (context, name, seed) in diverged
                loss = 1.6 + 0.1 * seed + ABOVE_FROZEN[name]
                loss += SPREAD[first] if name != "frozen" else 0.0
                loss += STANDARD if context == "standard" and width != 256 else 0.0
                loss += {"own_rates": 1, "fixed_trunk": -1}.get(context, 0) * WIDER.get(width, 0)
                rows.append(
                    {"condition": context, "role": "report", "variant": name, "width": width}
                    | {"seed": seed, "status": "diverged" if lost else "done"}
                    | {"test_loss": math.nan if lost else loss}
                )
        note = "the higher edge of its grid" if part.name in edge else "interior"
        selection[part.name] = {"interior": part.name not in edge, "note": note}
        selection[part.name] |= {"learning_rate": part.width / 64, "kappa": None}
    return write_measurements(
        folder,
        "optimizer_ablation",
        {"runs": rows},
        corpus="a synthetic corpus",
        selection=selection,
        **settings.model_dump(mode="json", include={"optimizer_ablation", "statistics"}),
    )
