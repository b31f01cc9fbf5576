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

    def part(condition: str, variant: str) -> Part:
        is_lazy = condition == NTK
        lazy = {"readout_init": "ntk"} if is_lazy else {}
        return Part(
            name=f"{condition}-{variant}",
            condition=condition,
            variant=variant,
            width=own.reference_width,
            vocabulary=settings.data.vocabulary,
            model=settings.model.model_copy(update=lazy),
            training=settings.training,
            search=settings.training,
            tuning=own.tuning,
            seeds=own.seeds[: own.ntk_seeds] if is_lazy else own.seeds,
            reports=[("report", width) for width in sorted(own.widths)],
            rates="width_limit.tuning.learning_rates",
        )

    return [*(part(MEAN_FIELD, variant) for variant in own.variants), part(NTK, REFERENCE)]
