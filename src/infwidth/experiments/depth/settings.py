# SPDX-License-Identifier: Apache-2.0
"""Settings of the experiment at the paper's depth and steps."""

from typing import Annotated

from pydantic import Field

from infwidth.config.section import Seed, Steps, StudySettings, Width, each_once


class DepthSettings(StudySettings):
    """The paper's own depth and steps, over widths.

    Rates are chosen on shorter runs; from there the search goes on at full length, to the best of
    neighbouring rates.
    """

    layers: Annotated[int, Field(ge=1)] = Field(6, description="Number of blocks.")
    steps: Steps = Field(40000, description="Training steps of the reported runs.")
    tuning_steps: Steps = Field(4000, description="Training steps of the search for rates.")
    widths: list[Width] = Field([256, 1024, 64], min_length=1, description="MLP widths H, in turn.")
    seeds: list[Seed] = Field(
        [50, 51, 52],
        min_length=1,
        description="Seeds of the reported runs; none of the tuning seeds.",
    )

    _widths_once = each_once("widths")
