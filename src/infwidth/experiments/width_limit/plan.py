# SPDX-License-Identifier: Apache-2.0
"""The parts of the extrapolation to infinite width: tuned once, run at all widths (no JAX)."""

from infwidth.config.settings import Settings
from infwidth.experiments.study import Part
from infwidth.experiments.width_limit.settings import REFERENCE

MEAN_FIELD, NTK = "mean-field", "ntk"
"""How the unfrozen model is parametrized: f = (1/H) Σ M_h g_h, or f = H^−½ Σ M'_h g_h."""


def parts(settings: Settings) -> list[Part]:
    """Every variant in the mean-field parametrization; the unfrozen model in the NTK's, too.

    There its readout starts at M = √H M', M' ~ N(0, 1), and it becomes lazy as the width grows.
    ADAM* on fixed features has the same kernel in both.
    """
    own = settings.width_limit
    planned = [
        Part(
            name=f"{MEAN_FIELD}-{variant}",
            condition=MEAN_FIELD,
            variant=variant,
            width=own.reference_width,
            vocabulary=settings.data.vocabulary,
            model=settings.model,
            training=settings.training,
            search=settings.training,
            tuning=own.tuning,
            seeds=own.seeds,
            reports=[("report", width) for width in sorted(own.widths)],
            rates="width_limit.tuning.learning_rates",
        )
        for variant in own.variants
    ]
    lazy = {
        "name": f"{NTK}-{REFERENCE}",
        "condition": NTK,
        "model": settings.model.model_copy(update={"readout_init": "ntk"}),
        "seeds": own.seeds[: own.ntk_seeds],
    }
    reference = next(part for part in planned if part.variant == REFERENCE)
    return [*planned, reference.model_copy(update=lazy)]
