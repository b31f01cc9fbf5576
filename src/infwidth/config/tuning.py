# SPDX-License-Identifier: Apache-2.0
"""Settings of the search for a variant's learning rate, the same for every experiment."""

from typing import Annotated

from pydantic import Field, model_validator

from infwidth.config.section import LearningRate, Section, Seed, each_once


class TuningSettings(Section):
    """The search for each variant's readout rate: one grid, one budget, one rule, for all."""

    seeds: list[Seed] = Field([0, 1], min_length=1, description="Seeds of the tuning runs.")
    learning_rates: list[LearningRate] = Field(
        [1.0, 3.0, 10.0],
        min_length=2,
        description="The readout's rates, in units in which every rule's first step has rms η.",
    )
    kappas: list[LearningRate] = Field(
        [0.3, 1.0, 3.0],
        min_length=1,
        description="Rates κ of the features (variants that train them): η_ω = κ √d η_trunk.",
    )
    max_extensions: Annotated[int, Field(ge=0)] = Field(
        5,
        description="Steps by which a grid may grow where its best lies at an edge; the axes of a "
        "grid (learning_rates and kappas) share them.",
    )
    tolerance: Annotated[float, Field(ge=0)] = Field(
        0.002,
        description="Nats per token within which two rates count as equal; the smallest rate wins.",
    )
    race_margin: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="Nats per token by which a rate may trail the best on the first tuning seed "
        "and still run on the others; the rates behind are out of the race, and so is a second "
        "seed where one rate is alone in front. null: every rate runs on every seed.",
    )
    trunk_factors: list[Annotated[float, Field(gt=0)]] = Field(
        [0.5, 2.0],
        description="Multiples of training.trunk_learning_rate at which `constant` is checked.",
    )

    _no_duplicates = each_once("seeds", "learning_rates", "kappas", "trunk_factors")

    @model_validator(mode="after")
    def _race_spares_equals(self) -> "TuningSettings":
        if self.race_margin is not None and self.race_margin < self.tolerance:
            raise ValueError(
                f"race_margin {self.race_margin:g} is below tolerance {self.tolerance:g}: rates "
                "that count as equal would be dropped; raise race_margin"
            )
        return self
