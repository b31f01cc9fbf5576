# SPDX-License-Identifier: Apache-2.0
"""Measurements of the ablation as the experiment writes them, from a formula."""

import math
from pathlib import Path

from infwidth.config.section import StatisticsSettings
from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.optimizer_ablation.contexts import BASE, CONTEXTS, context_of
from infwidth.experiments.optimizer_ablation.settings import OptimizerAblationSettings
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
    """Writes runs and settings; `diverged` are (context, variant, seed), `edge` arms' names."""
    own = OptimizerAblationSettings(
        variants=list(variants),
        contexts=list(contexts),
        seeds=list(seeds),
        confirmation_seeds=[seed + 10 for seed in seeds],
    )
    arms = [(BASE, name) for name in variants]
    arms += [(context, name) for context in contexts for name in CONTEXTS[context].variants]
    rows, selection = [], {}
    for context, name in arms:
        at_widths = context_of(context).at_widths
        widths = [own.width, *(own.standard_widths if at_widths else [])]
        for width in [0] if ALL_VARIANTS[name].features == "none" else widths:
            fresh = 10 if context_of(context).confirmation else 0
            for seed in [seed + fresh for seed in seeds]:
                lost = (context, name, seed) in diverged
                own_part = 0.0 if name == "frozen" else ABOVE_FROZEN[name] + SPREAD[seed - fresh]
                moved = STANDARD if context == "standard" and width != own.width else 0.0
                moved += {"own_rates": 1, "fixed_trunk": -1}.get(context, 0) * WIDER.get(width, 0)
                rows.append(
                    {
                        "condition": context,
                        "key": f"{context}-{name}-{width}-{seed}",
                        "role": "report",
                        "variant": name,
                        "width": float(width),
                        "learning_rate": 3.0,
                        "kappa": math.nan,
                        "seed": seed,
                        "status": "diverged" if lost else "done",
                        "test_loss": math.nan if lost else 1.6 + 0.1 * seed + own_part + moved,
                    }
                )
        tuned = widths if context_of(context).tuned_at_widths else widths[:1]
        tuned = [0] if ALL_VARIANTS[name].features == "none" else tuned
        places = [f"{context}-{name}-{width}" for width in tuned]
        for rate, place in enumerate(places, 3):
            selection[place] = {
                "learning_rate": float(rate),
                "kappa": None,
                "interior": place not in edge,
                "note": "the higher edge of its grid" if place in edge else "interior",
            }
    return write_measurements(
        folder,
        "optimizer_ablation",
        {"runs": rows},
        corpus="a synthetic corpus",
        optimizer_ablation=own.model_dump(mode="json"),
        statistics=StatisticsSettings().model_dump(),
        selection=selection,
    )
