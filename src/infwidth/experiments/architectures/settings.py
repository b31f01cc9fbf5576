# SPDX-License-Identifier: Apache-2.0
"""Settings of the experiment that trains the variants in an MLP, a CNN and an RNN, on digits."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from infwidth.config.section import (
    Fraction,
    LearningRate,
    Section,
    Seed,
    TuningSettings,
    Width,
    each_once,
    known_variants,
    seeds_apart,
)

Architecture = Literal["mlp", "cnn", "rnn"]

Count = Annotated[int, Field(ge=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]


class ArchitecturesTuning(TuningSettings):
    """The search for the readout's rate, in each architecture for each variant alike."""

    seeds: list[Seed] = Field([0, 1, 2, 3], min_length=1, description="Seeds of the tuning runs.")
    learning_rates: list[LearningRate] = Field(
        [0.3, 1.0, 3.0, 10.0],
        min_length=2,
        description="The readout's rates, in units in which every rule's first step has rms η.",
    )
    kappas: list[LearningRate] = Field(
        [1.0, 3.0],
        min_length=1,
        description="Rates κ of the features (variants that train them): η_ω = κ √d η_trunk.",
    )
    max_extensions: Annotated[int, Field(ge=0)] = Field(
        4,
        description="Steps by which a grid may grow where its best lies at an edge; the axes of a "
        "grid (learning_rates and kappas) share them.",
    )
    tolerance: Annotated[float, Field(ge=0)] = Field(
        0.005,
        description="Nats per image within which two rates count as equal; the smallest rate wins.",
    )
    trunk_factors: list[Annotated[float, Field(gt=0)]] = Field(
        [0.5, 2.0],
        description="Multiples of trunk_learning_rate at which `constant` is checked.",
    )


class ArchitecturesSettings(Section):
    """The variants in other architectures: an MLP, a CNN and an RNN on scikit-learn's digits."""

    architectures: list[Architecture] = Field(
        ["mlp", "cnn", "rnn"], min_length=1, description="Which are trained."
    )
    variants: list[str] = Field(
        [
            *("unfrozen", "frozen", "ntk", "adam_star"),
            *("ntk_normalized", "adam_star_normalized", "constant"),
        ],
        min_length=1,
        description="Rows of the table of variants.",
    )
    widths: list[Width] = Field(
        [16, 128, 1024], min_length=1, description="Widths H of the wide layer."
    )
    reference_width: Width = Field(128, description="The width at which rates are tuned.")
    seeds: list[Seed] = Field(
        list(range(10, 20)),
        min_length=1,
        description="Seeds of the reported runs; none of the tuning seeds. Each trains on "
        "images of its own choice, of one pool; an interval over seeds does not cover others.",
    )
    split_seed: Seed = Field(
        2,
        description="Seed of the choice of the test images, the same for all runs. The others are "
        "split into training and validation images by each run's own seed. Sizes were settled, and "
        "results seen, with 0 and 1.",
    )
    validation_images: Count = Field(400, description="Images by which rates are chosen.")
    test_images: Count = Field(500, description="Images by which the reported runs are scored.")
    mlp_embedding: Count = Field(16, description="Numbers to which the MLP reduces an image, D.")
    cnn_channels: Count = Field(8, description="Channels of the CNN, C.")
    rnn_state: Count = Field(16, description="Numbers in the state of the RNN, D.")
    steps: Count = Field(300, description="Training steps.")
    batch_size: Count = Field(64, description="Images a step.")
    trunk_learning_rate: LearningRate = Field(
        0.01, description="Adam's peak rate outside the wide layer; checked on `constant`."
    )
    warmup_steps: Annotated[int, Field(ge=0)] = Field(30, description="Linear warm-up, in steps.")
    final_fraction: Fraction = Field(
        0.1, description="The cosine schedule ends at this fraction of the peak rate."
    )
    b1: Decay = Field(0.9, description="β1 of Adam and ADAM*.")
    b2: Decay = Field(0.98, description="β2 of Adam and ADAM*.")
    eps: Annotated[float, Field(gt=0)] = Field(1e-9, description="ε of Adam and ADAM*.")
    divergence_factor: Annotated[float, Field(gt=1)] = Field(
        1.5, description="A run with a loss above its first by this factor counts as diverged."
    )
    tuning: ArchitecturesTuning = Field(default_factory=ArchitecturesTuning)

    _no_duplicates = each_once("architectures", "variants", "widths", "seeds")
    _known_variants = known_variants("variants")
    _seeds_apart = seeds_apart("seeds")

    @model_validator(mode="after")
    def _a_peak_is_reached(self) -> "ArchitecturesSettings":
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps must be below steps ({self.steps})")
        return self
