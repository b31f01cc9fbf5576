# SPDX-License-Identifier: Apache-2.0
"""Settings of the experiment that compares the mean over inits with the infinite model."""

from typing import Annotated

from pydantic import Field, model_validator

from infwidth.config.section import LearningRate, Section, Seed, Width, each_once

Count = Annotated[int, Field(ge=1)]


class FixedReadoutSettings(Section):
    """Half one: a readout function M_ω that is fixed, evaluated at features drawn anew."""

    widths: list[Width] = Field(
        [1, 4, 16, 64, 256, 1024, 4096], min_length=1, description="Widths H, each with own draws."
    )
    features: Count = Field(
        1_048_576,
        description="Features drawn at each width, that is H times the number of inits; so the "
        "mean over inits is known equally well at every width.",
    )

    _no_duplicates = each_once("widths")

    @model_validator(mode="after")
    def _two_inits(self) -> "FixedReadoutSettings":
        if self.features < 2 * max(self.widths):
            raise ValueError(
                f"features must be at least twice the largest width ({max(self.widths)})"
            )
        return self


class TrainedReadoutSettings(Section):
    """Half two: finite models trained from M = 0 on the batches of the infinite one."""

    widths: list[Width] = Field(
        [32, 64, 128, 256, 512],
        min_length=1,
        description="Widths H, tried from the smallest on until the bias is not resolved.",
    )
    inits_per_unit: Count = Field(
        8,
        description="Inits at width H, as a multiple of H: with that the squared bias, which falls "
        "as H⁻², keeps its ratio to the noise of the pair estimator.",
    )
    steps: Count = Field(100, description="Training steps.")
    batch_size: Count = Field(32, description="Examples a step, without repetition.")
    adam_star_learning_rate: LearningRate = Field(0.1, description="ADAM*'s rate.")
    sgd_learning_rate: LearningRate = Field(1.0, description="SGD's rate.")
    b1: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="β1 of ADAM*.")
    b2: Annotated[float, Field(ge=0, lt=1)] = Field(0.98, description="β2 of ADAM*.")
    eps: Annotated[float, Field(gt=0)] = Field(1e-9, description="ε of ADAM*.")

    _no_duplicates = each_once("widths")

    @model_validator(mode="after")
    def _three_inits(self) -> "TrainedReadoutSettings":
        if self.inits_per_unit * min(self.widths) < 3:
            raise ValueError("inits_per_unit times the smallest width must be at least 3")
        return self


class ExpectedValueSettings(Section):
    """The mean over inits of the finite model against the infinite model, on small digits."""

    classes: Annotated[int, Field(ge=2, le=10)] = Field(
        3, description="The first classes of the digits, which are the outputs, E."
    )
    train_examples: Count = Field(200, description="Examples to train on.")
    test_examples: Count = Field(100, description="Examples at which the models are compared.")
    seed: Seed = Field(31, description="Seed of the choice of examples, the batches and all inits.")
    fixed: FixedReadoutSettings = Field(default_factory=FixedReadoutSettings)
    trained: TrainedReadoutSettings = Field(default_factory=TrainedReadoutSettings)

    @model_validator(mode="after")
    def _a_batch_fits(self) -> "ExpectedValueSettings":
        if self.trained.batch_size > self.train_examples:
            raise ValueError(
                f"trained.batch_size ({self.trained.batch_size}) must be at most train_examples "
                f"({self.train_examples})"
            )
        return self
