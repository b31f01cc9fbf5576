# SPDX-License-Identifier: Apache-2.0
"""Settings of the experiment that asks whether frozen features suffice, if they are reweighted."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from infwidth.config.section import LearningRate, Section, Seed, Width, each_once

Rule = Literal["unfrozen", "adam", "adam_star", "sgd"]
"""How a model trains; in all but `unfrozen`, which is Adam on both groups, the features stay."""

RULES: tuple[Rule, ...] = get_args(Rule)
FROZEN: tuple[Rule, ...] = RULES[1:]

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Kappa = Annotated[float, Field(ge=0)]
Bands = Annotated[int, Field(ge=4, multiple_of=4)]


class DensityRatioSettings(Section):
    """A wide network with learned features, reconstructed from frozen ones by reweighting."""

    dimensions: list[Literal[1, 2]] = Field(
        [1, 2], min_length=1, description="Dimensions D of the inputs; features have D + 1."
    )
    kappas: list[Kappa] = Field(
        [0.0, 0.1, 0.3, 1.0],
        min_length=1,
        description="Rates of the features, as multiples of the readout's: how far they move. At 0 "
        "they stay.",
    )
    particles: Count = Field(32_768, description="Units of the network whose features train.")
    points: Count = Field(256, description="Inputs that it trains on, all at every step.")
    steps: Count = Field(100, description="Steps of gradient descent.")
    learning_rate: LearningRate = Field(1.0, description="Rate of the readout.")
    bands: Bands = Field(
        24,
        description="The directions of features are cut into 2 bands² cells of equal measure, in "
        "which densities are estimated; a second estimate, of their price alone, has bands / 4.",
    )
    widths: list[Width] = Field(
        [64, 256, 1024, 4096, 16_384], min_length=2, description="Widths H of the frozen networks."
    )
    draws: Count = Field(4, description="Frozen networks of each width, over which is averaged.")
    test_points: Count = Field(256, description="Inputs at which the networks are compared.")

    _no_duplicates = each_once("dimensions", "kappas", "widths")


class LeastSquaresSettings(Section):
    """A narrow network with learned features, reconstructed by the best readout of frozen ones."""

    dimensions: list[Count] = Field(
        [4, 16], min_length=1, description="Dimensions D of the inputs."
    )
    units: Count = Field(16, description="Units of the network whose features train.")
    widths: list[Width] = Field(
        [32, 64, 128, 256, 512, 1024],
        min_length=2,
        description="Widths H of the frozen networks.",
    )

    _no_duplicates = each_once("dimensions", "widths")


class PlantedSettings(Section):
    """Data of a teacher of a few ReLU units, whose directions are planted."""

    dimension: Count = Field(16, description="Dimension D of the inputs.")
    units: Count = Field(4, description="Units of the teacher.")
    train_examples: Count = Field(8192, description="Examples to train on.")
    held_out_examples: Count = Field(
        4096, description="Examples to choose rates by, and as many others to test on."
    )
    widths: list[Width] = Field([128, 512, 2048], min_length=1, description="Widths H.")
    reference_width: Width = Field(512, description="The width at which rates are tuned.")
    batch_size: Count = Field(128, description="Examples a step, drawn with replacement.")
    logged_steps: list[Count] = Field(
        [1, 3, 10, 30, 100, 300, 1000],
        min_length=1,
        description="Steps after which the readout is looked at; the last ends the training.",
    )
    aligned_share: Share = Field(
        0.1,
        description="Features are aligned whose largest |cos| to a planted direction is in this "
        "upper share of the features as drawn.",
    )
    tolerance: Annotated[float, Field(ge=0)] = Field(
        0.05,
        description="Validation losses that count as equal in tuning, the difference of their "
        "natural logarithms; the smallest rate wins.",
    )

    _no_duplicates = each_once("widths", "logged_steps")


class PruningSettings(Section):
    """scikit-learn's digits: features kept by the size of their readout, or at random."""

    width: Width = Field(1024, description="Width H of the network before pruning.")
    steps: Count = Field(500, description="Training steps, and again as many after pruning.")
    batch_size: Count = Field(64, description="Images a step, drawn with replacement.")
    validation_examples: Count = Field(250, description="Images to choose rates by.")
    test_examples: Count = Field(360, description="Images to test on.")
    shares: list[Share] = Field(
        [0.01, 0.02, 0.05, 0.1, 0.2, 0.5],
        min_length=1,
        description="Shares q of the features that are kept.",
    )
    judged_share: Share = Field(
        0.05, description="The share at which top and random are compared for the claim."
    )
    data_seed: Seed = Field(0, description="Seed of the split of the images.")
    tolerance: Annotated[float, Field(ge=0)] = Field(
        0.002,
        description="Validation losses, in nats, that count as equal in tuning; the smallest rate "
        "wins.",
    )

    _no_duplicates = each_once("shares")

    @model_validator(mode="after")
    def _what_is_judged_is_measured(self) -> "PruningSettings":
        if self.judged_share not in self.shares:
            raise ValueError(f"judged_share ({self.judged_share}) must be one of shares")
        return self

    @model_validator(mode="after")
    def _images_are_left(self) -> "PruningSettings":
        if self.validation_examples + self.test_examples > 1796:
            raise ValueError(
                "validation_examples and test_examples together must leave at least one of the "
                "1,797 images to train on"
            )
        return self


class SearchSettings(Section):
    """The search for rates, the same for every rule: one grid, one budget, other seeds."""

    seeds: list[Seed] = Field([0, 1, 2], min_length=1, description="Seeds of the tuning runs.")
    learning_rates: list[LearningRate] = Field(
        [0.3, 1.0, 3.0],
        min_length=2,
        description="The readout's rates, in units in which every rule's first step has rms η.",
    )
    kappas: list[LearningRate] = Field(
        [0.03, 0.1, 0.3],
        min_length=1,
        description="Rates of the features, as multiples of the readout's (rule `unfrozen`).",
    )
    max_extensions: Annotated[int, Field(ge=0)] = Field(
        5, description="Steps by which a grid may grow where its best lies at an edge."
    )

    _no_duplicates = each_once("seeds", "learning_rates", "kappas")


class FeatureSelectionSettings(Section):
    """Is what features could learn reached by weighting frozen ones up and down?"""

    seeds: list[Seed] = Field(
        [40, 41, 42, 43, 44, 45],
        min_length=1,
        description="Seeds; each has a teacher, features and batches of its own.",
    )
    density_ratio: DensityRatioSettings = Field(default_factory=DensityRatioSettings)
    least_squares: LeastSquaresSettings = Field(default_factory=LeastSquaresSettings)
    planted: PlantedSettings = Field(default_factory=PlantedSettings)
    pruning: PruningSettings = Field(default_factory=PruningSettings)
    tuning: SearchSettings = Field(default_factory=SearchSettings)
    b1: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="β1 of ADAM* and Adam.")
    b2: Annotated[float, Field(ge=0, lt=1)] = Field(0.98, description="β2 of ADAM* and Adam.")
    eps: Annotated[float, Field(gt=0)] = Field(1e-9, description="ε of ADAM* and Adam.")

    _no_duplicates = each_once("seeds")

    @model_validator(mode="after")
    def _seeds_are_not_those_of_tuning(self) -> "FeatureSelectionSettings":
        both = sorted(set(self.seeds) & set(self.tuning.seeds))
        if both:
            raise ValueError(
                f"{both[0]} is among seeds and among tuning.seeds: rates must be tuned on others"
            )
        return self
