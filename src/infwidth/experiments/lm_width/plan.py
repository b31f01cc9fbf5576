# SPDX-License-Identifier: Apache-2.0
"""The plan of the width experiment: which runs there are, without running any (and without JAX)."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from infwidth.config.settings import (
    LmWidthSettings,
    ModelSettings,
    SensitivitySettings,
    TrainingSettings,
    TuningSettings,
)
from infwidth.config.variants import ALL_VARIANTS, Variant
from infwidth.stats.selection import Cell, first_runs
from infwidth.training.spec import RunSpec


class Place(NamedTuple):
    """A run's place in the experiment.

    Attributes:
      role: "trunk", "tuning", "check", "sensitivity", "report"; or "extra", which is reported by
        another experiment.
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
        splits=("validation", "test") if place.role in ("report", "extra") else ("validation",),
        platform=platform,
    )


def widths_of(name: str, widths: Sequence[int]) -> list[int]:
    """The widths at which a variant runs: one run of width 0 where there are no MLPs."""
    return sorted(widths) if has_mlps(ALL_VARIANTS[name]) else [0]


def jobs(settings: LmWidthSettings) -> list[tuple[str, str]]:
    """The training jobs, as (variant, widths): neighbouring widths share a process."""
    size = settings.widths_per_job
    named = []
    for name in settings.variants:
        widths = widths_of(name, settings.widths)
        chunks = [widths[i : i + size] for i in range(0, len(widths), size)]
        named += [(name, "_".join(map(str, chunk))) for chunk in chunks]
    return named


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


def report_places(
    name: str,
    widths: Iterable[int],
    seeds: Sequence[int],
    selection: dict[str, Any],
    sensitivity: SensitivitySettings,
) -> list[Place]:
    """The reported runs of a variant at `widths`, at its chosen rate.

    At the widths of `sensitivity` the first seed also runs at multiples of the chosen rate;
    nothing is chosen by these runs.

    Args:
      selection: the variant's choice, which `tune` returned.
    """
    chosen = Cell(selection["learning_rate"], selection["kappa"])
    places = []
    for width in widths:
        places += [Place("report", name, width, chosen, seed) for seed in seeds]
        if width in sensitivity.widths:
            rates = [float(f"{chosen.learning_rate * f:.4g}") for f in sensitivity.factors]
            places += [
                Place("sensitivity", name, width, Cell(rate, chosen.kappa), seeds[0])
                for rate in rates
            ]
    return places


def tuning_places(name: str, width: int, runs: Iterable[tuple[Cell, int]]) -> list[Place]:
    """The places of some tuning runs, given as (cell, seed)."""
    return [Place("tuning", name, width, cell, seed) for cell, seed in runs]
