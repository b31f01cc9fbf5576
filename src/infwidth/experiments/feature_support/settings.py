# SPDX-License-Identifier: Apache-2.0
"""Settings of the experiment on features whose Ω is not totally supported."""

from typing import Annotated

from pydantic import Field, model_validator

from infwidth.config.section import LearningRate, Section, Seed, Width, each_once

Count = Annotated[int, Field(ge=1)]
Nodes = Annotated[int, Field(ge=8, multiple_of=8)]
Degrees = Annotated[float, Field(gt=0, lt=90)]
Share = Annotated[float, Field(gt=0, lt=1)]


class NodesSettings(Section):
    """Nodes of a Gauss–Legendre rule over the inputs, in panels of 8."""

    line: Nodes = Field(1600, description="Nodes where inputs are one number.")
    plane: Nodes = Field(48, description="Nodes an axis, where they are two.")


class SupportTrainingSettings(Section):
    """Training of the readout by ADAM*, on the whole population at every step, from M = 0."""

    nodes: NodesSettings = NodesSettings(line=256, plane=24)
    steps: list[Count] = Field(
        [2000, 8000],
        min_length=1,
        description="Steps of separate runs, whose rate falls linearly to 0; figures show the "
        "longest.",
    )
    learning_rate: LearningRate = Field(1.0, description="The rate at the start.")
    b1: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="β1 of ADAM*.")
    b2: Annotated[float, Field(ge=0, lt=1)] = Field(0.98, description="β2 of ADAM*.")
    eps: Annotated[float, Field(gt=0)] = Field(1e-9, description="ε of ADAM*.")

    _no_duplicates = each_once("steps")


class SupportReportSettings(Section):
    """What `infwidth.kernels.support_report` is given, and how often it is asked."""

    features: Count = Field(256, description="Features H of a report.")
    inputs: Annotated[int, Field(ge=16)] = Field(256, description="Inputs N of a report.")
    draws: Count = Field(99, description="Draws of the null.")
    level: Share = Field(0.01, description="Level of the test.")
    repeats: Count = Field(
        20, description="Reports of each case, on the first of `seeds` and those that follow it."
    )
    controls: Count = Field(
        100, description="The same where support is total, on the line and on the plane."
    )

    @model_validator(mode="after")
    def _draws_reach_the_level(self) -> "SupportReportSettings":
        if (self.draws + 1) * self.level < 1:
            raise ValueError(f"draws ({self.draws}) must be at least 1/level − 1 ({self.level})")
        return self


class FeatureSupportSettings(Section):
    """Features from an Ω that is not totally supported: the error that no width removes.

    Inputs are N(0, I), one or two numbers; errors are shares of the target's variance.
    """

    widths: list[Width] = Field(
        [16, 64, 256, 1024, 4096], min_length=1, description="Widths H; all share their first ω."
    )
    seeds: list[Seed] = Field(
        [100, 101, 102, 103, 104],
        min_length=1,
        description="Seeds of the features, and of the atoms.",
    )
    kinks: list[float] = Field(
        [-1.3, -0.3, 0.8],
        min_length=1,
        description="Kinks of the target on the line, whose slope is 1 and −1 in turn.",
    )
    frequency: Annotated[float, Field(gt=0)] = Field(
        1.5, description="The target on the plane is the sine of this times the first input."
    )
    cone_half_angle: Degrees = Field(
        45.0,
        description="Half the opening of the cone in degrees; its axis is the input's coordinate.",
    )
    subspace_angle: Degrees = Field(
        30.0, description="Angle of the one direction that the subspace sees with the wave's."
    )
    atoms: Annotated[int, Field(ge=2)] = Field(6, description="Atoms, drawn anew for each seed.")
    quantised_levels: list[Annotated[int, Field(ge=2)]] = Field(
        [3, 9],
        description="Values that each weight is rounded to, from −2 to 2, equally far apart.",
    )
    ridge: Annotated[float, Field(gt=0)] = Field(
        1e-9,
        description="Of the best readout's least squares, in units of the Gram matrix's trace.",
    )
    margin: Share = Field(
        0.01,
        description="The best readout's error at the largest width counts as the population "
        "residual if it is that within this margin.",
    )
    trained_margin: Share = Field(0.05, description="The same for the readout trained by ADAM*.")
    fit_nodes: NodesSettings = Field(default_factory=NodesSettings)
    test_nodes: NodesSettings = NodesSettings(line=4800, plane=64)
    training: SupportTrainingSettings = Field(default_factory=SupportTrainingSettings)
    report: SupportReportSettings = Field(default_factory=SupportReportSettings)

    _no_duplicates = each_once("widths", "seeds", "kinks", "quantised_levels")
