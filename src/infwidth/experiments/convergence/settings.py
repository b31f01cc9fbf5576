# SPDX-License-Identifier: Apache-2.0
"""Settings of the experiment that widens finite models towards the exact infinite one."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from infwidth.config.section import LearningRate, Section, Seed, Width, each_once

Rule = Literal["sgd", "momentum", "adam_star", "adam"]
"""How the readout trains; `adam` is elementwise Adam, which has no kernel form."""

RULES: tuple[Rule, ...] = get_args(Rule)

Count = Annotated[int, Field(ge=1)]


class ConvergenceSettings(Section):
    """scikit-learn's digits: finite width H against the exact kernel machine, rule by rule."""

    widths: list[Width] = Field(
        [32, 64, 128, 256, 512, 1024, 2048, 4096, 8192],
        min_length=2,
        description="Widths H of the finite models.",
    )
    seeds: list[Seed] = Field(
        [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25],
        min_length=1,
        description="Seeds of the features. All share the data's split and the batches, so that "
        "they differ in nothing else.",
    )
    data_seed: Seed = Field(0, description="Seed of the split and of the batches.")
    test_examples: Annotated[int, Field(ge=1, le=1696)] = Field(
        360, description="Of the 1,797 images, those that nothing is trained on."
    )
    batch_size: Count = Field(64, description="Images a step, drawn with replacement.")
    logged_steps: list[Count] = Field(
        [1, 2, 5, 10, 20, 50, 100, 200, 500],
        min_length=1,
        description="Steps after which models are compared; the last ends the training.",
    )
    sgd_learning_rate: LearningRate = Field(10.0, description="Rate of SGD.")
    momentum_learning_rate: LearningRate = Field(1.0, description="Rate of SGD with momentum.")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="Momentum of the same.")
    adam_learning_rate: LearningRate = Field(0.1, description="Rate of ADAM* and of Adam.")
    b1: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="β1 of ADAM* and Adam.")
    b2: Annotated[float, Field(ge=0, lt=1)] = Field(0.98, description="β2 of ADAM* and Adam.")
    eps: Annotated[float, Field(gt=0)] = Field(1e-9, description="ε of ADAM* and Adam.")
    slope_from: Width = Field(
        256, description="Least width of the fit of log distance on log width; smaller are shown."
    )
    slope_margin: Annotated[float, Field(gt=0)] = Field(
        0.03,
        description="A slope within this of −1/2 counts as −1/2 (TOST), as the theory has it.",
    )

    _no_duplicates = each_once("widths", "seeds", "logged_steps")

    @model_validator(mode="after")
    def _a_slope_can_be_fitted(self) -> "ConvergenceSettings":
        if sum(width >= self.slope_from for width in self.widths) < 2:
            raise ValueError(
                f"widths has fewer than two from slope_from ({self.slope_from}) on: no slope"
            )
        return self
