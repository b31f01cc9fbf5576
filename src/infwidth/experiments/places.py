# SPDX-License-Identifier: Apache-2.0
"""Where a run stands in an experiment, and what its numbers depend on (without JAX)."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from infwidth.config.section import TuningSettings
from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import ALL_VARIANTS, Variant
from infwidth.stats.selection import Cell, first_runs
from infwidth.training.spec import RunSpec

_SCORED = ("report", "extra", "one_rate")
"""Roles of runs that are scored on the test split, too."""


class Place(NamedTuple):
    """A run's place in the experiment.

    Attributes:
      role: "trunk", "tuning", "check", "one_rate", "report"; or "extra", by which a method is
        tried.
      variant: its name.
      width: H; 0 for the control without MLPs, None where it is infinite.
      cell: the readout's rate, and κ.
      seed: of trunk, features and order of the data.
      trunk_factor: multiple of the trunk's rate.
    """

    role: str
    variant: str
    width: int | None
    cell: Cell
    seed: int
    trunk_factor: float = 1.0


def has_mlps(variant: Variant) -> bool:
    """False for the control without MLPs, which has no readout rate and no width."""
    return variant.readout != "none"


def run_spec(
    place: Place,
    model: ModelSettings,
    training: TrainingSettings,
    data: str,
    vocabulary_size: int,
    platform: str,
) -> RunSpec:
    """All that the numbers of the run at `place` depend on.

    Args:
      place: of the run.
      model: shape of the transformer.
      training: optimisation settings.
      data: digest of the tokens.
      vocabulary_size: V.
      platform: "cpu", "gpu" or "tpu".
    """
    variant = ALL_VARIANTS[place.variant]
    trunk_rate = training.trunk_learning_rate * place.trunk_factor
    return RunSpec(
        data=data,
        vocabulary_size=vocabulary_size,
        model=model,
        training=training.model_copy(update={"trunk_learning_rate": trunk_rate}),
        features=variant.features,
        readout=variant.readout,
        width=place.width,
        learning_rate=place.cell.learning_rate if has_mlps(variant) else None,
        kappa=place.cell.kappa,
        seed=place.seed,
        splits=("validation", "test") if place.role in _SCORED else ("validation",),
        platform=platform,
    )


def widths_of(name: str, widths: Sequence[int]) -> list[int]:
    """The widths at which a variant runs: one run of width 0 where there are no MLPs."""
    return sorted(widths) if has_mlps(ALL_VARIANTS[name]) else [0]


def first_places(name: str, width: int, tuning: TuningSettings) -> list[Place]:
    """The runs with which a variant's tuning starts; of the control, the check of the trunk's rate.

    That rate was fixed beforehand, and is checked against its multiples.
    """
    variant = ALL_VARIANTS[name]
    if not has_mlps(variant):
        factors = sorted({1.0, *tuning.trunk_factors})
        return [
            Place("trunk", name, 0, Cell(0.0), seed, factor)
            for factor in factors
            for seed in tuning.seeds
        ]
    kappas = tuning.kappas if variant.features == "adam" else [None]
    cells = [Cell(rate, kappa) for rate in sorted(tuning.learning_rates) for kappa in kappas]
    return tuning_places(name, width, first_runs(cells, tuning))


def tuning_places(name: str, width: int, runs: Iterable[tuple[Cell, int]]) -> list[Place]:
    """The places of some tuning runs, given as (cell, seed)."""
    return [Place("tuning", name, width, cell, seed) for cell, seed in runs]
