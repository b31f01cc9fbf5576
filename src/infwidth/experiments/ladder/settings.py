# SPDX-License-Identifier: Apache-2.0
"""Settings of the ladder of steps."""

from typing import Annotated, Literal

from pydantic import Field

from infwidth.config.section import Steps, StudySettings, Width, each_once


class LadderSettings(StudySettings):
    """The paper's experiment at one width, longer and longer; rates are tuned anew at each rung."""

    width: Width = Field(256, description="MLP width H.")
    steps: list[Steps] = Field(
        [500, 1500, 4500, 13500, 40000],
        min_length=1,
        description="The rungs: training steps, each a multiple of training.log_every. The last "
        "is the paper's.",
    )
    search_steps: Steps = Field(
        4500,
        description="The longest search for rates: that of a longer rung is the one of so many "
        "steps, and goes on from its choice at full length, to the best of neighbouring rates.",
    )
    vocabularies: list[Literal["bytes", "sentencepiece"]] = Field(
        ["bytes", "sentencepiece"],
        min_length=1,
        description="A ladder in each, in this order; data.vocabulary_size has the pieces.",
    )
    exponents: list[Annotated[float, Field(gt=0)]] = Field(
        [0.25, 0.5, 0.75, 1.0],
        min_length=1,
        description="Exponents b of the models L(t) = L∞ + a t^−b, by which the rungs before the "
        "last are extrapolated to it.",
    )

    _rungs_once = each_once("steps", "vocabularies", "exponents")
