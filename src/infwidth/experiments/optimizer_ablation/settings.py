# SPDX-License-Identifier: Apache-2.0
"""Settings of the ablation (which part of the optimizer closes the gap, and where?); its contexts.

A context is what is changed around the same variants.
"""

from typing import Annotated, NamedTuple

from pydantic import Field, field_validator, model_validator

from infwidth.config.section import (
    LearningRate,
    Section,
    Seed,
    TuningSettings,
    Width,
    each_once,
    seeds_apart,
    variants_known_in,
)
from infwidth.config.variants import ABLATIONS, ALL_VARIANTS, VARIANTS

AT_INFINITE_WIDTH_ALONE = ("muon_star_normalized", "nadam_star_normalized")
"""Variants that the default leaves to `infinite_rules`, which asks the same of them."""

PLAIN = ("ntk", "adam_star", "frozen")
SECOND_MOMENTS = (*PLAIN, "adam_star_normalized", "adam_star_global", "adam_star_factored")


class Context(NamedTuple):
    """One row of the table of contexts; `plan` has the settings that each changes.

    Attributes:
      label: how figures name it.
      variants: those that run in it.
      other_vocabulary: whether the text is in the vocabulary that `data.vocabulary` is not.
      at_widths: whether the variants also run at the widths `standard_widths`, whatever the
        parametrization.
      standard: whether rates grow with the width, as in the standard parametrization.
      tuned_at_widths: whether each of those widths is tuned by itself, instead of one for all.
      confirmation: whether the reported runs are on the seeds `confirmation_seeds`.
    """

    label: str
    variants: tuple[str, ...] = PLAIN
    other_vocabulary: bool = False
    at_widths: bool = False
    standard: bool = False
    tuned_at_widths: bool = False
    confirmation: bool = False


CONTEXTS: dict[str, Context] = {
    # Does the gap grow with training? Does noise favour a rule?
    "short": Context("a third of the steps"),
    "small_batch": Context("a quarter of the batch"),
    "other_vocabulary": Context(
        "the other vocabulary", (*SECOND_MOMENTS, "muon_star"), other_vocabulary=True
    ),
    # Gradients of frequent and rare tokens differ by far (Zipf).
    "vocabulary_readout": Context("readout to the logits", (*PLAIN, "adam_star_normalized")),
    # SGD outside the MLPs, too, at a rate of its own.
    "sgd_trunk": Context("SGD everywhere", ("constant", *PLAIN)),
    # Decoupled, on the readouts.
    "weight_decay": Context("weight decay"),
    # One rate at every width.
    "mean_field": Context("other widths", SECOND_MOMENTS, at_widths=True),
    # Is it the rate that makes SGD worse as width grows, or what the rest of the network learns?
    "own_rates": Context("a rate for each width", ("ntk",), at_widths=True, tuned_at_widths=True),
    "fixed_trunk": Context("all but the readouts fixed", ("ntk",), at_widths=True),
    # Does what Muon gave at first hold on more seeds and at other widths?
    "confirmation": Context(
        "Muon anew",
        ("muon_star", "frozen", "unfrozen_muon_star"),
        at_widths=True,
        confirmation=True,
    ),
    # M_0 = √H N(0, 1), and rates that grow with the width.
    "standard": Context("standard parametrization", ("ntk",), at_widths=True, standard=True),
}

BASE = "base"
"""The setting of fig1, which is no row of the table: its variants stand in the settings."""

_FIG1 = Context("as in fig. 1")


def context_of(name: str) -> Context:
    """The row of a context, of the setting of fig1 too."""
    return _FIG1 if name == BASE else CONTEXTS[name]


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
    _known_variants = variants_known_in(ALL_VARIANTS, "variants")

    @field_validator("contexts")
    @classmethod
    def _known_contexts(cls, values: list[str]) -> list[str]:
        for value in values:
            if value not in CONTEXTS:
                raise ValueError(f"unknown context {value!r}; known: {', '.join(CONTEXTS)}")
        return values

    @model_validator(mode="after")
    def _widths_apart(self) -> "OptimizerAblationSettings":
        if self.width in self.standard_widths:
            raise ValueError(
                f"standard_widths has {self.width}, which is width itself; take it out"
            )
        return self
