# SPDX-License-Identifier: Apache-2.0
"""What the settings of studies share: experiments that are lists of conditions, tuned in each."""

from typing import Annotated

from pydantic import Field

from infwidth.config.section import Section, Seed, each_once, seeds_apart, variants_known_in
from infwidth.config.tuning import TuningSettings
from infwidth.config.variants import ALL_VARIANTS

Steps = Annotated[int, Field(ge=1)]

MAIN = [
    *("unfrozen", "frozen", "ntk", "adam_star", "adam_star_error"),
    *("adam_star_measured", "ntk_measured", "constant"),
]
"""The paper's variants, reading C of ADAM*, measured scales (R), and the check of the trunk."""


class StudySettings(Section):
    """Variants, seeds and search; in each condition every variant is tuned by itself."""

    variants: list[str] = Field(
        MAIN, min_length=1, description="Rows of the tables of variants, each tuned by itself."
    )
    seeds: list[Seed] = Field(
        [50, 51, 52, 53],
        min_length=1,
        description="Seeds of the reported runs; none of the tuning seeds. No run on those of the "
        "default had been made when the rules of config/claims.yaml were written.",
    )
    parts_per_job: Annotated[int, Field(ge=1)] = Field(
        1,
        description="Parts (a variant in a condition at a width) that share a process; raise it "
        "where runs are short.",
    )
    tuning: TuningSettings = Field(
        default_factory=lambda: TuningSettings(max_extensions=6, race_margin=0.01)
    )

    _no_duplicates = each_once("variants", "seeds")
    _known_variants = variants_known_in(ALL_VARIANTS, "variants")
    _seeds_apart = seeds_apart("seeds")
