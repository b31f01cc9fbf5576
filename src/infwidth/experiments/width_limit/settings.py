# SPDX-License-Identifier: Apache-2.0
"""Settings of the question that the paper leaves open: what is left as the width grows?"""

from typing import Annotated

from pydantic import Field, field_validator

from infwidth.config.section import Section, Width, each_once
from infwidth.config.variants import VARIANTS

REFERENCE = "unfrozen"
"""The variant that the others are compared with; it alone runs in the NTK parametrization, too."""


class WidthLimitSettings(Section):
    """Losses over width extrapolated to infinity; runs, rates and seeds are those of lm_width.

    The unfrozen model also runs in the NTK parametrization, f = H^−½ Σ M_h g_h with Adam's rates
    proportional to H^−½, in which its features stop to move as the width grows.
    """

    variants: list[str] = Field(
        ["unfrozen", "adam_star", "adam_star_normalized"],
        min_length=2,
        description="`unfrozen`, and the variants whose loss is compared with it.",
    )
    extra_widths: list[Width] = Field(
        [32, 512], description="Widths of these variants besides lm_width.widths."
    )
    ntk_seeds: Annotated[int, Field(ge=1)] = Field(
        3,
        description="How many of lm_width.seeds, from the first, the runs in the NTK "
        "parametrization use. Their rates are tuned as lm_width's are.",
    )
    exponents: list[Annotated[float, Field(gt=0)]] = Field(
        [0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
        min_length=1,
        description="Exponents b of the models L(H) = L∞ + a H^−b.",
    )
    fewest_widths: Annotated[int, Field(ge=3)] = Field(
        6, description="With fewer widths no limit is judged."
    )
    least_span: Annotated[float, Field(gt=1)] = Field(
        64.0, description="Nor where the largest width is less than so many times the smallest."
    )

    _no_duplicates = each_once("variants", "extra_widths", "exponents")

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
