# SPDX-License-Identifier: Apache-2.0
"""Settings of the paper's experiment."""

from typing import Annotated

from pydantic import Field, model_validator

from infwidth.config.section import (
    Section,
    Seed,
    Steps,
    TuningSettings,
    Width,
    each_once,
    seeds_apart,
    variants_known_in,
)
from infwidth.config.variants import ALL_VARIANTS


class LmWidthTuning(TuningSettings):
    """The search for a variant's rate at a width, with more seeds where rates are close."""

    seeds: list[Seed] = Field([0, 1, 2], min_length=1, description="Seeds of the tuning runs.")
    race_margin: Annotated[float, Field(gt=0)] | None = Field(
        0.03,
        description="Nats per token by which a rate may trail the best on the first tuning seed "
        "and still run on the others; null: every rate runs on every seed.",
    )


class LmWidthSettings(Section):
    """The paper's experiment: final loss over MLP width, every variant tuned at every width."""

    variants: list[str] = Field(
        [
            *("unfrozen", "frozen", "ntk", "adam_star"),
            *("ntk_measured", "adam_star_measured", "constant"),
        ],
        min_length=1,
        description="Rows of the tables of variants.",
    )
    widths: list[Width] = Field([64, 256, 1024], min_length=1, description="MLP widths H.")
    search_steps: Steps = Field(
        1500,
        description="Steps of the search for rates; where training has more, the search goes on "
        "from its choice at full length, to the best of neighbouring rates.",
    )
    reference_width: Width = Field(
        256, description="The width whose rate all widths run at in the picture of one rate (fig3)."
    )
    one_rate_seeds: Annotated[int, Field(ge=0)] = Field(
        3, description="How many of the seeds, from the first, run at that one rate, too."
    )
    seeds: list[Seed] = Field(
        [90, 91, 92, 93],
        min_length=1,
        description="Seeds of the reported runs; none of the tuning seeds. On those of the "
        "default nothing had been seen when the rules of config/claims.yaml were written.",
    )
    parts_per_job: Annotated[int, Field(ge=1)] = Field(
        1,
        description="Parts (a variant at a width) that share a process; raise it where runs are "
        "short.",
    )
    tuning: LmWidthTuning = Field(default_factory=LmWidthTuning)

    _no_duplicates = each_once("widths", "seeds", "variants")
    _known_variants = variants_known_in(ALL_VARIANTS, "variants")
    _seeds_apart = seeds_apart("seeds")

    @model_validator(mode="after")
    def _one_rate_is_tuned(self) -> "LmWidthSettings":
        if self.one_rate_seeds and self.reference_width not in self.widths:
            raise ValueError(
                f"reference_width {self.reference_width} is not one of widths, so no rate is tuned "
                "there; add it, or set one_rate_seeds to 0"
            )
        return self
