# SPDX-License-Identifier: Apache-2.0
"""The plan of the extrapolation to infinite width: which runs it needs (without JAX)."""

from collections.abc import Iterable

from infwidth.config.settings import LmWidthSettings, ModelSettings
from infwidth.experiments.lm_width.plan import Place, jobs
from infwidth.experiments.width_limit.settings import REFERENCE, WidthLimitSettings
from infwidth.stats.selection import Cell


def all_widths(lm_width: LmWidthSettings, own: WidthLimitSettings) -> list[int]:
    """The widths that are extrapolated from, ascending: lm_width's and the extra ones."""
    return sorted({*lm_width.widths, *own.extra_widths})


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


def ntk_jobs(lm_width: LmWidthSettings, own: WidthLimitSettings) -> list[str]:
    """The jobs of the arm in the NTK parametrization: widths, in lm_width's groups."""
    study = {"variants": [REFERENCE], "widths": all_widths(lm_width, own)}
    return [widths for _, widths in jobs(lm_width.model_copy(update=study))]


def ntk_model(model: ModelSettings) -> ModelSettings:
    """The model whose readout starts at M = √H M', M' ~ N(0, 1), where f = H^−½ Σ M'_h g_h."""
    return model.model_copy(update={"readout_init": "ntk"})


def ntk_places(
    widths: Iterable[int], reference_width: int, cell: Cell, seeds: Iterable[int]
) -> list[Place]:
    """The reported runs of the unfrozen model in the NTK parametrization.

    There f = H^−½ Σ M'_h g_h with M', ω ~ N(0, 1), and Adam moves both by steps proportional to
    H^−½. In the mean-field variable M = √H M' the readout's rate is the same at every width, and
    that of the features is κ_H = κ √(H_ref / H).

    Args:
      widths: H.
      reference_width: H_ref, at which the rates were tuned.
      cell: the readout's rate, and κ at H_ref.
      seeds: of trunk, features and order of the data.
    """
    assert cell.kappa is not None
    return [
        Place("report", REFERENCE, width, cell._replace(kappa=kappa), seed)
        for width in widths
        # Rates name runs, so they are rounded.
        for kappa in [float(f"{cell.kappa * (reference_width / width) ** 0.5:.6g}")]
        for seed in seeds
    ]
