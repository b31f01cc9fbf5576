# SPDX-License-Identifier: Apache-2.0
"""Settings of the experiment on rules at exactly infinite width, on scikit-learn's digits."""

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from infwidth.config.section import (
    Fraction,
    LearningRate,
    Section,
    Seed,
    Width,
    each_once,
    seeds_apart,
)

Rule = Literal[
    "sgd",
    "sgd_decay",
    "momentum",
    "rmsprop_star",
    "adam_star",
    "adam_star_global",
    "adam_star_error",
    "adam_star_uncorrected",
    "adam_star_decay",
    "nadam_star",
    "adagrad_star",
    "muon_star",
    "adam_star_factored",
    "adam",
]
"""How the readout trains; the last two keep no fixed kernel and run at finite width."""

RULES: tuple[Rule, ...] = get_args(Rule)

FINITE_RULES: tuple[Rule, ...] = ("adam_star_factored", "adam")
"""Those that have no fixed kernel: ADAM* D and elementwise Adam, on frozen finite features."""

Kernel = Literal["plain", "normalized", "shifted", "measured"]
"""Of which features: ReLU; ReLU divided by s(ω); ReLU with ω_b ~ N(−0.41, 1); ReLU on scales that
are measured from the gradients of the first batches (docs/theory.md, section 16)."""

KERNELS: tuple[Kernel, ...] = get_args(Kernel)

MEASURED_RULES: tuple[Rule, ...] = ("sgd", "adam_star", "muon_star", "adam")
"""Those that run on measured scales, whose kernel is another one for each seed."""

Count = Annotated[int, Field(ge=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]


class InfiniteRulesSettings(Section):
    """Every rule with every kernel at infinite width, each rule's rate tuned alike."""

    rules: list[Rule] = Field(list(RULES), min_length=1, description="How the readout trains.")
    kernels: list[Kernel] = Field(list(KERNELS), min_length=1, description="Of which features.")
    tuning_seeds: list[Seed] = Field(
        [0, 1, 2, 3, 4],
        min_length=1,
        description="Seeds of the tuning runs: of the split into training and validation images, "
        "of the batches, and of the features where there are any.",
    )
    seeds: list[Seed] = Field(
        [50, 51, 52, 53, 54, 55, 56, 57],
        min_length=1,
        description="Seeds of the same, of the reported runs; none of the tuning seeds.",
    )
    learning_rates: list[LearningRate] = Field(
        [1.0, 3.0, 10.0],
        min_length=2,
        description="Rates, in units in which SGD's and ADAM*'s first step has rms η.",
    )
    max_extensions: Annotated[int, Field(ge=0)] = Field(
        4, description="Steps by which a rule's grid may grow where its best lies at an edge."
    )
    refinements: Annotated[int, Field(ge=0)] = Field(
        2,
        description="How many times the rates half-way (in the logarithm) between the best and its "
        "neighbours are tried at the end: the best rates of two rules lie differently on a grid.",
    )
    tolerance: Annotated[float, Field(ge=0)] = Field(
        0.0005,
        description="Nats per image within which two rates count as equal; the smallest rate wins.",
    )
    data_seed: Seed = Field(0, description="Seed of the choice of the test images.")
    test_examples: Annotated[int, Field(ge=1)] = Field(
        360,
        description="Of the 1,797 images, those that nothing is trained or tuned on; the same for "
        "all seeds.",
    )
    validation_examples: Count = Field(
        240,
        description="Of the others, those that a seed does not train on; rates are chosen there.",
    )
    batch_size: Count = Field(64, description="Images a step, drawn with replacement.")
    steps: Count = Field(400, description="Training steps.")
    warmup_steps: Annotated[int, Field(ge=0)] = Field(
        20, description="Linear warm-up of the rate, in steps; then it falls as a cosine."
    )
    final_fraction: Fraction = Field(0.1, description="The rate at the end, a share of its peak.")
    momentum: Decay = Field(0.9, description="Share of the trace that `momentum` keeps.")
    b1: Decay = Field(0.9, description="β1, of all rules that have one.")
    b2: Decay = Field(0.98, description="β2, of all rules that have one.")
    eps: Annotated[float, Field(gt=0)] = Field(1e-9, description="ε, of all rules but Muon*.")
    muon_eps: Annotated[float, Field(gt=0)] = Field(
        1e-4, description="ε of Muon*: the share of the mean eigenvalue that is added to each."
    )
    weight_decay: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.01,
        description="λ of `sgd_decay` and `adam_star_decay`: M is multiplied by 1 − s_t λ at each "
        "step, s_t being the schedule.",
    )
    width: Width = Field(4096, description="Features of the rules that run at finite width.")
    nodes: Width = Field(
        32768,
        description="Features over which the kernel of measured scales, which has no closed form, "
        "is averaged; drawn anew for each seed, so that intervals hold the error.",
    )
    limit_widths: list[Width] = Field(
        [256, 1024, 4096],
        min_length=2,
        description="Widths of the finite models on measured scales whose distance from infinite "
        "width is measured; that has 8 times `nodes` for its kernel.",
    )

    _no_duplicates = each_once(
        *("rules", "kernels", "tuning_seeds", "seeds", "learning_rates", "limit_widths")
    )
    _seeds_apart = seeds_apart("seeds", tuning="tuning_seeds")

    @model_validator(mode="after")
    def _goes_together(self) -> "InfiniteRulesSettings":
        if self.test_examples + self.validation_examples >= 1797:
            raise ValueError(
                "test_examples and validation_examples leave none of the 1,797 images to train on"
            )
        if self.kernels == ["measured"] and not set(self.rules) & set(MEASURED_RULES):
            raise ValueError(
                "none of rules runs on measured scales; add a kernel, or one of "
                f"{', '.join(MEASURED_RULES)}"
            )
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps must be below steps ({self.steps})")
        return self
