# SPDX-License-Identifier: Apache-2.0
"""Settings of the question that the paper leaves open: what is left as the width grows?"""

from typing import Annotated

from pydantic import Field, field_validator

from infwidth.config.section import Section, Seed, TuningSettings, Width, each_once, seeds_apart
from infwidth.config.variants import VARIANTS

REFERENCE = "unfrozen"
"""The variant that the others are compared with; it alone runs in the NTK parametrization, too."""


class WidthLimitSettings(Section):
    """Losses over width extrapolated to infinity, at the rate of one width.

    The unfrozen model also runs in the NTK parametrization, f = H^−½ Σ M_h g_h with Adam's rates
    proportional to H^−½, in which its features stop to move as the width grows.
    """

    variants: list[str] = Field(
        ["unfrozen", "frozen", "adam_star", "adam_star_normalized"],
        min_length=2,
        description="`unfrozen`, and the variants whose loss is compared with it.",
    )
    widths: list[Width] = Field(
        [16, 32, 64, 256, 512, 1024],
        min_length=1,
        description="MLP widths H; with fewer than 6, or a span below 64, no limit is judged.",
    )
    reference_width: Width = Field(256, description="The width at which rates are tuned.")
    seeds: list[Seed] = Field(
        [30, 31, 32, 33, 34, 35],
        min_length=1,
        description="Seeds of the reported runs; none of the tuning seeds.",
    )
    ntk_seeds: Annotated[int, Field(ge=1)] = Field(
        3,
        description="How many of the seeds, from the first, the runs in the NTK parametrization "
        "use. Their rates are tuned as the others are.",
    )
    tuning: TuningSettings = Field(default_factory=TuningSettings)

    _no_duplicates = each_once("variants", "widths", "seeds")
    _seeds_apart = seeds_apart("seeds")

    @field_validator("variants")
    @classmethod
    def _comparable_variants(cls, values: list[str]) -> list[str]:
        known = [name for name, variant in VARIANTS.items() if variant.readout != "none"]
        for value in values:
            if value not in known:
                raise ValueError(f"{value!r} has no width here; allowed are {', '.join(known)}")
        if REFERENCE not in values:
            raise ValueError(f"the others are compared with {REFERENCE!r}; add it")
        return values
