# SPDX-License-Identifier: Apache-2.0
"""Settings of the transformer with infinitely wide MLPs, and of the finite ones beside it."""

from typing import Annotated

from pydantic import Field, model_validator

from infwidth.config.section import (
    LearningRate,
    Section,
    Seed,
    TuningSettings,
    Width,
    each_once,
    known_variants,
    seeds_apart,
    whole_chunks,
)
from infwidth.config.variants import VARIANTS

INFINITE_READOUTS = ("sgd", "adam_star")
"""The readouts' rules that keep the kernel Θ, and so can train an MLP of infinite width."""

Count = Annotated[int, Field(ge=1)]


class InfiniteLmTuning(TuningSettings):
    """The search for each variant's readout rate; finite and infinite models run at the same."""

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
        3, description="Steps by which a grid may grow where its best lies at an edge."
    )
    tolerance: Annotated[float, Field(ge=0)] = Field(
        0.0005,
        description="Nats per token within which two rates count as equal; the smallest rate wins. "
        "Small, since in runs this short a rate that leaves the MLPs idle loses little.",
    )


class InfiniteLmSettings(Section):
    """Infinite-width transformer against finite widths; the rest is as in model and training.

    A step's work grows with the inputs seen, and a run's with their square, so the runs are short.
    """

    variants: list[str] = Field(
        list(VARIANTS), min_length=1, description="Rows of the table of variants, at finite width."
    )
    infinite_variants: list[str] = Field(
        ["ntk", "adam_star"],
        description="Those among them that run at infinite width, too: features fixed as drawn, "
        "and a readout that keeps their kernel.",
    )
    widths: list[Width] = Field(
        [64, 256, 1024, 4096], min_length=1, description="Finite MLP widths H."
    )
    extrapolated_widths: list[Width] = Field(
        [16, 32, 64, 256, 512, 1024],
        description="Widths from which the loss of infinite_variants is extrapolated to infinity, "
        "as width_limit does it, where the limit is known.",
    )
    reference_width: Width = Field(256, description="The width at which rates are tuned.")
    seeds: list[Seed] = Field(
        [30, 31, 32],
        min_length=1,
        description="Seeds of the reported runs; none of the tuning seeds.",
    )
    steps: Count = Field(300, description="Training steps.")
    batch_size: Count = Field(4, description="Sequences a step, B.")
    warmup_steps: Annotated[int, Field(ge=0)] = Field(
        30, description="Linear warm-up of the rates, in steps."
    )
    trunk_learning_rate: LearningRate = Field(
        0.01, description="Adam's peak rate outside the MLPs; checked on `constant`."
    )
    evaluation_tokens: Count = Field(
        20_000, description="Tokens of the validation and of the test split that are scored."
    )
    log_every: Count = Field(
        10, description="Steps a compiled chunk, and between two points of a loss curve."
    )
    checkpoint_every: Count = Field(
        100, description="Steps between checkpoints; a multiple of log_every."
    )
    tuning: InfiniteLmTuning = Field(default_factory=InfiniteLmTuning)

    _no_duplicates = each_once(
        *("variants", "infinite_variants", "widths", "extrapolated_widths", "seeds")
    )
    _known_variants = known_variants("variants")
    _whole_chunks = whole_chunks()
    _seeds_apart = seeds_apart("seeds")

    @model_validator(mode="after")
    def _infinite_variants_have_a_kernel(self) -> "InfiniteLmSettings":
        known = [
            name
            for name, variant in VARIANTS.items()
            if variant.features == "fixed" and variant.readout in INFINITE_READOUTS
        ]
        for name in self.infinite_variants:
            if name not in known:
                raise ValueError(
                    f"infinite_variants has {name!r}, which has no kernel form here; "
                    f"allowed are {', '.join(known)}"
                )
            if name not in self.variants:
                raise ValueError(f"infinite_variants has {name!r}, which is not one of variants")
        return self
