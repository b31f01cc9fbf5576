# SPDX-License-Identifier: Apache-2.0
"""Settings of the ablation: which part of the optimizer closes the gap, and where."""

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from infwidth.config.section import (
    LearningRate,
    Section,
    Seed,
    TuningSettings,
    Width,
    each_once,
    seeds_apart,
)
from infwidth.config.variants import ABLATIONS, ALL_VARIANTS, VARIANTS
from infwidth.experiments.optimizer_ablation.contexts import CONTEXTS

AT_INFINITE_WIDTH_ALONE = ("muon_star_normalized", "nadam_star_normalized")
"""Variants that the default leaves to `infinite_rules`, which asks the same of them."""


class OptimizerAblationSettings(Section):
    """Rules for the readout at one width, and the main ones in other contexts; all tuned alike."""

    variants: list[str] = Field(
        [name for name in (*VARIANTS, *ABLATIONS) if name not in AT_INFINITE_WIDTH_ALONE],
        min_length=1,
        description="Rows of the tables of variants that run in the setting of fig1.",
    )
    contexts: list[str] = Field(
        list(CONTEXTS), description="Rows of the table of contexts in which the main rules run."
    )
    width: Width = Field(256, description="MLP width H, at which each variant is tuned, too.")
    standard_widths: list[Width] = Field(
        [64, 1024],
        description="Further widths, of the contexts "
        f"{', '.join(name for name, context in CONTEXTS.items() if context.at_widths)}.",
    )
    seeds: list[Seed] = Field(
        [30, 31, 32],
        min_length=1,
        description="Seeds of the reported runs; none of the tuning seeds. Runs on those of "
        "lm_width.seeds are shared with it.",
    )
    confirmation_seeds: list[Seed] = Field(
        [30, 31, 32, 33, 34, 35],
        min_length=1,
        description="Seeds of the reported runs of the context `confirmation`; the same holds.",
    )
    sgd_trunk_learning_rate: LearningRate = Field(
        0.5,
        description="SGD's rate outside the MLPs where SGD trains all; checked on `constant`, of "
        "which some seeds diverge at 1.",
    )
    readout_decay: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.001, description="λ of the context `weight_decay`."
    )
    parts_per_job: Annotated[int, Field(ge=1)] = Field(
        2, description="Variants in a context that share a process; raise it where runs are short."
    )
    tuning: TuningSettings = Field(
        default_factory=lambda: TuningSettings(max_extensions=8, race_margin=0.01)
    )

    _no_duplicates = each_once(
        "variants", "contexts", "standard_widths", "seeds", "confirmation_seeds"
    )

    _seeds_apart = seeds_apart("seeds", "confirmation_seeds")

    @field_validator("variants", "contexts")
    @classmethod
    def _known(cls, values: list[str], info: object) -> list[str]:
        field = getattr(info, "field_name", "")
        known = ALL_VARIANTS if field == "variants" else CONTEXTS
        for value in values:
            if value not in known:
                raise ValueError(f"unknown {field[:-1]} {value!r}; known: {', '.join(known)}")
        return values

    @model_validator(mode="after")
    def _widths_apart(self) -> "OptimizerAblationSettings":
        if self.width in self.standard_widths:
            raise ValueError(
                f"standard_widths has {self.width}, which is width itself; take it out"
            )
        return self
