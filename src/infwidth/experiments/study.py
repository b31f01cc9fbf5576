# SPDX-License-Identifier: Apache-2.0
"""What experiments that train language models consist of: runs, parts, and jobs (without JAX).

A part is a variant in a condition: it is tuned at a width by itself, and reported on other seeds. A
job is one process, and does a part or a few. The module `plan` of an experiment lists its parts; of
a study (`infwidth.experiments.registry.STUDIES`) conditions, from which the parts are made here.
"""

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from infwidth.config.errors import UserError
from infwidth.config.load import merge
from infwidth.config.section import Section, Seed, TuningSettings
from infwidth.config.settings import ModelSettings, Settings, TrainingSettings
from infwidth.config.variants import ALL_VARIANTS, Variant
from infwidth.experiments.registry import REGISTRY, STUDIES, module
from infwidth.stats.selection import Cell, first_runs
from infwidth.training.spec import RunSpec

_SCORED = ("report", "extra", "one_rate")
"""Roles of runs that are scored on the test split, too."""


class Place(NamedTuple):
    """Where a run stands in an experiment.

    Attributes:
      role: "trunk", "tuning", "check", "one_rate", "report"; or "extra", by which a method is
        tried.
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
    """All that the numbers of the run at `place` depend on; `data` is the digest of the tokens."""
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
    """The runs with which a variant's tuning starts.

    Of the control they check the trunk's rate, fixed beforehand, against its multiples.
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


class Condition(NamedTuple):
    """What is changed around the variants, and which of them run in it.

    Attributes:
      name: as in the names of files: small letters, digits and "_".
      label: how figures and claims name it.
      arms: the parts, as (variant, width).
      seeds: of the reported runs.
      factors: what tells the condition from the others, by name.
      model, training: settings that differ from the configured ones.
      search: settings of training that differ in the search alone, where it is shorter. From the
        chosen rate the search then goes on at full length.
    """

    name: str
    label: str
    arms: list[tuple[str, int]]
    seeds: list[int]
    tuning: TuningSettings
    factors: Mapping[str, Any]
    vocabulary: str
    model: Mapping[str, Any] = {}
    training: Mapping[str, Any] = {}
    search: Mapping[str, Any] = {}


class Part(Section):
    """A part, and all that it reads of the settings.

    Attributes:
      name: as in the names of files.
      width: H at which it is tuned; 0 for the control without MLPs, which has none.
      training: of the reported runs.
      search: training of the search's runs.
      seeds: of the reported runs.
      reports: of these role and width, None where it is infinite.
      reference: the part whose choice the runs at one rate take.
      rate_grows: whether the readout's rate grows with the width: the standard readout is W = M/H,
        moved by η at every width, so that M's rate is H η.
      rates, trunk_rate: the settings that the rates come from, for messages.
    """

    name: str
    condition: str
    variant: str
    width: int
    vocabulary: str
    model: ModelSettings
    training: TrainingSettings
    search: TrainingSettings
    tuning: TuningSettings
    seeds: list[Seed]
    reports: list[tuple[str, int | None]]
    reference: str = ""
    one_rate_seeds: tuple[Seed, ...] = ()
    rate_grows: bool = False
    rates: str
    trunk_rate: str = "training.trunk_learning_rate"

    @property
    def place(self) -> tuple[str, str, int]:
        """What tells its runs from those of other parts."""
        return self.condition, self.variant, self.width

    @property
    def is_checked(self) -> bool:
        """Whether its choice, of a shorter search, is checked at full length."""
        return self.search != self.training

    def report_places(self, chosen: Cell, reference: Cell | None = None) -> list[Place]:
        """The reported runs, and those at one rate.

        In the NTK parametrization f = H^−½ Σ M'_h g_h with M', ω ~ N(0, 1), and Adam moves both by
        steps proportional to H^−½. In the mean-field variable M = √H M' the readout's rate is the
        same at every width, and that of the features is κ_H = κ √(H_ref / H), where H_ref is the
        width of the tuning.
        """
        places = []
        for role, width in self.reports:
            rate, kappa = chosen
            # Rates name runs, so they are rounded.
            if self.model.readout_init == "ntk" and kappa is not None and width:
                kappa = float(f"{kappa * (self.width / width) ** 0.5:.6g}")
            if self.rate_grows and width:
                rate = float(f"{rate * width / self.width:.4g}")
            cell = Cell(rate, kappa)
            places += [Place(role, self.variant, width, cell, seed) for seed in self.seeds]
        if reference is not None:
            places += [
                Place("one_rate", self.variant, self.width, reference, seed)
                for seed in self.one_rate_seeds
            ]
        return places


class Job(Section):
    """The parts of one process, which read the same text."""

    parts: list[Part]

    def for_tuning(self) -> "Job":
        """The same job without what its searches do not read: seeds and places of the reports."""
        nothing = {"seeds": [], "reports": [], "reference": "", "one_rate_seeds": ()}
        return Job(parts=[part.model_copy(update=nothing) for part in self.parts])


def conditions(experiment: str, settings: Settings) -> list[Condition]:
    """The conditions of a study, in the order in which they are to run; others have none."""
    return _plan(experiment).conditions(settings) if experiment in STUDIES else []


def parts_of(experiment: str, settings: Settings) -> list[Part]:
    """All parts of an experiment.

    Raises:
      UserError: what a condition changes does not go with the other settings.
    """
    if experiment not in STUDIES:
        return _plan(experiment).parts(settings)
    return [
        part
        for condition in conditions(experiment, settings)
        for part in parts_in(experiment, condition, settings)
    ]


def jobs_of(experiment: str, settings: Settings) -> dict[str, Job]:
    """The jobs of an experiment by name, in order; neighbouring parts share a process."""
    size = getattr(getattr(settings, experiment), "parts_per_job", 1)
    parts = parts_of(experiment, settings)
    named: dict[str, Job] = {}
    for vocabulary in dict.fromkeys(part.vocabulary for part in parts):
        some = [part for part in parts if part.vocabulary == vocabulary]
        for start in range(0, len(some), size):
            chunk = some[start : start + size]
            more = f"-and-{len(chunk) - 1}-more" if len(chunk) > 1 else ""
            named[chunk[0].name + more] = Job(parts=chunk)
    return named


def priorities(experiment: str, settings: Settings) -> dict[str, int]:
    """Snakemake's priority of each job: studies by their worth, conditions in their order."""
    if experiment not in STUDIES:
        return dict.fromkeys(jobs_of(experiment, settings), 0)
    base = -(1 + list(REGISTRY).index(experiment)) * 1000
    order = {c.name: k for k, c in enumerate(conditions(experiment, settings))}
    return {
        name: base - order[job.parts[0].condition]
        for name, job in jobs_of(experiment, settings).items()
    }


def arms(variants: Iterable[str], widths: Iterable[int]) -> list[tuple[str, int]]:
    """Every variant at every width, those without MLPs once, at 0."""
    widths = list(widths)
    return [
        (variant, width)
        for variant in variants
        for width in (widths if has_mlps(ALL_VARIANTS[variant]) else [0])
    ]


def at_length(steps: int, training: TrainingSettings) -> dict[str, int]:
    """Settings of a run of so many steps: its warm-up, and a checkpoint every thousand steps."""
    chunk = training.log_every
    return {
        "steps": steps,
        "warmup_steps": min(steps // 15, 1000),
        "checkpoint_every": max(chunk, min(steps // 3, 1000) // chunk * chunk),
    }


def parts_in(experiment: str, condition: Condition, settings: Settings) -> Iterator[Part]:
    """The parts of a condition; errors are those of `parts_of`."""
    try:
        model = ModelSettings.model_validate(merge(settings.model.model_dump(), condition.model))
        changed = merge(settings.training.model_dump(), condition.training)
        training = TrainingSettings.model_validate(changed)
        search = TrainingSettings.model_validate(merge(changed, condition.search))
    except ValidationError as error:
        mistake = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UserError(
            f"configuration: {experiment}: in its condition {condition.name!r} {mistake}; mend "
            f"that in {experiment}, model or training"
        ) from None
    for variant, width in condition.arms:
        tuned = has_mlps(ALL_VARIANTS[variant])
        yield Part(
            name=f"{condition.name}-{variant}-{width}",
            condition=condition.name,
            variant=variant,
            width=width,
            vocabulary=condition.vocabulary,
            model=model,
            training=training,
            # The control without MLPs is there to check the rate of all else, and reports nothing.
            search=search if tuned else training,
            tuning=condition.tuning,
            seeds=condition.seeds if tuned else [],
            reports=[("report", width)],
            rates=f"{experiment}.tuning.learning_rates",
            trunk_rate=f"{experiment}.sgd_trunk_learning_rate"
            if training.trunk_optimizer == "sgd"
            else "training.trunk_learning_rate",
        )


def _plan(experiment: str) -> Any:
    return importlib.import_module(module(experiment, "plan"))
