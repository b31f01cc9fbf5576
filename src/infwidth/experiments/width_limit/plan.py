# SPDX-License-Identifier: Apache-2.0
"""The plan of the extrapolation to infinite width: which runs it needs (without JAX)."""

from pathlib import Path

from infwidth.config.settings import LmWidthSettings, Settings
from infwidth.experiments.lm_width.plan import jobs
from infwidth.experiments.study import Part
from infwidth.experiments.width_limit.settings import REFERENCE, WidthLimitSettings
from infwidth.layout import Layout

TUNED = "ntk"
"""The part that chooses the rates of the unfrozen model in the NTK parametrization."""


def mean_field_jobs(lm_width: LmWidthSettings, own: WidthLimitSettings) -> list[tuple[str, str]]:
    """The jobs of `infwidth train` that the variants need, as (variant, widths).

    At lm_width's widths they are lm_width's own jobs.
    """
    extra = [width for width in own.extra_widths if width not in lm_width.widths]
    return [
        job
        for widths in (lm_width.widths, extra)
        for job in jobs(lm_width.model_copy(update={"variants": own.variants, "widths": widths}))
    ]


def parts(settings: Settings) -> list[Part]:
    """The unfrozen model in the NTK parametrization: tuned as lm_width's are, then at all widths.

    Its readout starts at M = √H M', M' ~ N(0, 1), where f = H^−½ Σ M'_h g_h. Widths are grouped as
    lm_width's.
    """
    study, own = settings.lm_width, settings.width_limit
    tuning = Part(
        name=TUNED,
        condition=TUNED,
        variant=REFERENCE,
        width=study.reference_width,
        vocabulary=settings.data.vocabulary,
        model=settings.model.model_copy(update={"readout_init": "ntk"}),
        training=settings.training,
        search=settings.training,
        tuning=study.tuning,
        seeds=study.seeds[: own.ntk_seeds],
        reports=[],
        rates="lm_width.tuning.learning_rates",
    )
    widths = sorted({*study.widths, *own.extra_widths})
    groups = jobs(study.model_copy(update={"variants": [REFERENCE], "widths": widths}))
    return [tuning] + [
        tuning.model_copy(
            update={
                "name": f"{TUNED}_{group}",
                "condition": f"{TUNED}_{group}",
                "reports": [("report", int(width)) for width in group.split("_")],
                "tuned_in": TUNED,
            }
        )
        for _, group in groups
    ]


def others(settings: Settings, layout: Layout) -> dict[str, dict[Path, str]]:
    """What other experiments train for this one: files, and the commands that write them."""
    own = settings.width_limit
    return {
        "tuned": {layout.tuning(name): f"infwidth tune --variant {name}" for name in own.variants},
        "trained": {
            layout.trained(name, widths): f"infwidth train --variant {name} --widths {widths}"
            for name, widths in mean_field_jobs(settings.lm_width, own)
        },
        "known": {
            layout.part("infinite_lm", name): f"infwidth measure infinite_lm --part {name}"
            for name in settings.infinite_lm.infinite_variants
        },
    }
