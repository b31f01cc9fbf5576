# SPDX-License-Identifier: Apache-2.0
"""Settings of the readings: factors, their plan, and what is tried in each cell."""

from typing import Literal, get_args

from pydantic import Field

from infwidth.config.section import (
    LearningRate,
    Seed,
    StudySettings,
    TuningSettings,
    Width,
    each_once,
)

Factor = Literal[
    "steps", "vocabulary", "layers", "readout_init", "activation", "b2", "trunk_optimizer"
]
"""What the paper's summary leaves open; `infwidth.experiments.readings.plan` has the levels."""


class ReadingsSettings(StudySettings):
    """Candidates for ADAM*, and what they are compared with, in every cell of a plan of factors."""

    variants: list[str] = Field(
        [
            *("frozen", "ntk", "adam_star_global", "adam_star", "adam_star_error"),
            *("adam_star_measured", "constant", "unfrozen"),
        ],
        min_length=1,
        description="Rows of the tables of variants, tuned in every cell; `unfrozen` in four "
        "alone, in which every factor is twice at each level.",
    )
    width: Width = Field(256, description="MLP width H.")
    factors: list[Factor] = Field(
        list(get_args(Factor)),
        min_length=1,
        description="Those that vary: seven in 16 cells and a centre (resolution IV); of fewer, "
        "the cells that are left, and all else as in model and training.",
    )
    steps: list[int] = Field(
        [1500, 2700, 4800],
        min_length=3,
        max_length=3,
        description="Training steps: the low level, the centre, the high level.",
    )
    sgd_trunk_learning_rate: LearningRate = Field(
        0.5, description="SGD's rate outside the MLPs, where SGD trains all; checked on `constant`."
    )
    seeds: list[Seed] = Field(
        [50, 51], min_length=1, description="Seeds of the reported runs; none of the tuning seeds."
    )
    tuning: TuningSettings = Field(
        default_factory=lambda: TuningSettings(seeds=[0], max_extensions=6, race_margin=0.01)
    )

    _factors_once = each_once("factors")
