# SPDX-License-Identifier: Apache-2.0
"""Are the optimizers of readouts what separates the variants in other architectures, too?

An MLP, a CNN and an RNN on scikit-learn's digits, each with one wide mean-field layer. In each,
every variant is tuned alike at one width, on tuning seeds, by validation loss; every width then
runs on other seeds and is scored on the test images. These are the same for all runs; what is left
is split into images to train on and to validate with by each seed anew, for all variants alike.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from infwidth.config.errors import UserError
from infwidth.config.variants import VARIANTS
from infwidth.data.digits import load_digits
from infwidth.experiments.architectures.models import Outcome, Problem, Program, make_problem
from infwidth.experiments.architectures.settings import Architecture, ArchitecturesSettings
from infwidth.experiments.lm_width.plan import (
    Place,
    first_places,
    has_mlps,
    tuning_places,
    widths_of,
)
from infwidth.experiments.parts import Keeper, Parts
from infwidth.experiments.registry import REGISTRY
from infwidth.stats.selection import Cell, Trial, count_extensions, next_runs, selection_entry
from infwidth.training.spec import variants_digest

if TYPE_CHECKING:
    from infwidth.config.settings import Settings

CODE = REGISTRY["architectures"].code

_LOG = logging.getLogger(__name__)

# What decides which runs there are, and not what each of them is.
_BESIDE = {"architectures", "variants", "widths", "reference_width", "seeds", "tuning"}


def tables(settings: "Settings", keeper: Keeper) -> dict[str, pd.DataFrame]:
    """All that the experiment measures.

    Args:
      settings: of the configuration.
      keeper: gives the parts that are kept, from the modules that their numbers hang on.

    Returns:
      The tables by name.

    Raises:
      UserError: something diverged.
    """
    own = settings.architectures
    return measure(make_problem(own, *load_digits()), own, keeper(()))


def part(settings: "Settings", name: Architecture, keeper: Keeper) -> int:
    """Trains the models of an architecture, and returns the number of runs; `tables` finds them."""
    own = settings.architectures
    problem = make_problem(own, *load_digits())
    return sum(len(study.runs()) for study in train(problem, own, name, keeper(())))


def measure(
    problem: Problem, settings: ArchitecturesSettings, parts: Parts
) -> dict[str, pd.DataFrame]:
    """Trains what is not kept, and gathers all.

    Args:
      problem: of `make_problem`.
      settings: of the experiment.
      parts: keeps what is trained.

    Returns:
      The tables that `infwidth.experiments.architectures.measured` describes.

    Raises:
      UserError: every rate of a variant diverged.
    """
    studies = [
        study
        for architecture in settings.architectures
        for study in train(problem, settings, architecture, parts)
    ]
    return {
        "selection": pd.DataFrame([study.selection for study in studies]),
        "runs": pd.concat([study.runs() for study in studies], ignore_index=True),
        "images": pd.concat([study.images() for study in studies], ignore_index=True),
    }


def train(
    problem: Problem, settings: ArchitecturesSettings, architecture: Architecture, parts: Parts
) -> Iterator["Study"]:
    """Tunes and trains the variants of one architecture, one after the other.

    Args:
      problem: of `make_problem`.
      settings: of the experiment.
      architecture: which.
      parts: keeps what is trained.

    Yields:
      The variants, all their runs done.

    Raises:
      UserError: every rate of a variant diverged.
    """
    for name in settings.variants:
        started = time.monotonic()
        study = Study(problem, settings, architecture, name, parts)
        if study.trained:
            seconds = time.monotonic() - started
            _LOG.info("%s, %s: %d runs in %.1f s", architecture, name, study.trained, seconds)
        yield study


class Study:
    """All runs of one variant in one architecture.

    Attributes:
      selection: a row: what tuning chose; for the control the trunk's rate that its check prefers.
      trained: the number of runs that were not kept before.
    """

    def __init__(
        self,
        problem: Problem,
        settings: ArchitecturesSettings,
        architecture: Architecture,
        name: str,
        parts: Parts,
    ) -> None:
        self._problem, self._settings, self._parts = problem, settings, parts
        self._architecture, self._name = architecture, name
        self._program = cache(self._new_program)
        self._runs: list[dict[str, Any]] = []
        self._images: list[pd.DataFrame] = []
        self.trained = 0
        self.selection = {"architecture": architecture, "variant": name} | self._tune()
        cell = Cell(0.0)
        if has_mlps(VARIANTS[name]):
            cell = Cell(self.selection["learning_rate"], self.selection["kappa"])
        for width in widths_of(name, settings.widths):
            for seed in settings.seeds:
                self._report(Place("report", name, width, cell, seed))

    def runs(self) -> pd.DataFrame:
        """A row a run."""
        return pd.DataFrame(self._runs)

    def images(self) -> pd.DataFrame:
        """A row a (reported run, test image)."""
        return pd.concat(self._images, ignore_index=True)

    def _tune(self) -> dict[str, Any]:
        """The grid, then what the rule asks for; of the control, the check of the trunk's rate."""
        tuning = self._settings.tuning
        searched = has_mlps(VARIANTS[self._name])
        trials: list[Trial] = []
        places = first_places(self._name, self._settings.reference_width, tuning)
        while places:
            for place in places:
                row = self._run(place)
                cell = place.cell if searched else Cell(row["trunk_learning_rate"])
                lost = row["status"] == "diverged"
                trials.append(Trial(cell[0], row["validation_loss"], place.seed, lost, cell[1]))
            if not searched:
                break
            runs = next_runs(trials, tuning)
            places = tuning_places(self._name, self._settings.reference_width, runs)
        extensions = (
            count_extensions(trials, tuning.learning_rates, tuning.kappas) if searched else 0
        )
        entry = selection_entry(trials, tuning.tolerance, extensions)
        if entry["learning_rate"] is None:
            setting = "tuning.learning_rates" if searched else "trunk_learning_rate"
            raise UserError(
                f"{self._name} in the {self._architecture}: every rate diverged; lower "
                f"architectures.{setting}"
            )
        return {name: value for name, value in entry.items() if name != "trials"}

    def _report(self, place: Place) -> None:
        outcome = self._outcome_of(place)
        self._run(place, outcome)
        number = np.arange(self._settings.test_images)

        def images() -> pd.DataFrame:
            test = self._problem.splits["test"]
            return pd.DataFrame(
                {
                    "image": number,
                    "loss": outcome().loss_A[test],
                    "correct": outcome().correct_A[test],
                }
            )

        table = self._part(f"{self._label(place)}-images", place, images)
        where = {"architecture": self._architecture, "variant": self._name}
        self._images.append(table.assign(**where, width=place.width, seed=place.seed))

    def _run(self, place: Place, outcome: Callable[[], Outcome] | None = None) -> dict[str, Any]:
        """The row of a run, which is trained if it is not kept."""
        outcome = outcome or self._outcome_of(place)

        def scores() -> pd.DataFrame:
            return pd.DataFrame([self._scores(outcome(), tested=place.role == "report")])

        table = self._part(self._label(place), place, scores)
        place_of_run = {
            "role": place.role,
            "architecture": self._architecture,
            "variant": self._name,
            "width": place.width,
            "learning_rate": place.cell.learning_rate if place.width else None,
            "kappa": place.cell.kappa,
            "trunk_learning_rate": self._trunk_rate(place),
            "seed": place.seed,
        }
        row = place_of_run | table.iloc[0].to_dict()
        self._runs.append(row)
        return row

    def _outcome_of(self, place: Place) -> Callable[[], Outcome]:
        @cache
        def outcome() -> Outcome:
            self.trained += 1
            rate = place.cell.learning_rate if place.width else None
            program = self._program(place.width)
            return program.run(self._trunk_rate(place), rate, place.cell.kappa, place.seed)

        return outcome

    def _scores(self, outcome: Outcome, tested: bool) -> dict[str, Any]:
        """What is kept of a run; of the test images only where the run is reported."""
        loss = {
            name: float(outcome.loss_A[images].mean(dtype=np.float64))
            for name, images in self._problem.splits.items()
        }
        correct = float(outcome.correct_A[self._problem.splits["test"]].mean())
        lost = outcome.diverged(self._settings.divergence_factor)
        return {
            "status": "diverged" if lost else "done",
            "train_loss": loss["train"],
            "validation_loss": loss["validation"],
            "test_loss": loss["test"] if tested else math.nan,
            "test_accuracy": correct if tested else math.nan,
        }

    def _part(self, name: str, place: Place, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        depends_on = self._settings.model_dump(mode="json", exclude=_BESIDE)
        depends_on |= {
            "architecture": self._architecture,
            "variant": VARIANTS[self._name][:2],
            "code": variants_digest(CODE, [VARIANTS[self._name]]),
            "width": place.width,
            "cell": place.cell,
            "trunk_learning_rate": self._trunk_rate(place),
            "seed": place.seed,
            "tested": place.role == "report",
        }
        return self._parts.table(name, depends_on, compute)

    def _label(self, place: Place) -> str:
        return f"{self._architecture}-{self._name}-{place.width}-{place.seed}"

    def _trunk_rate(self, place: Place) -> float:
        return self._settings.trunk_learning_rate * place.trunk_factor

    def _new_program(self, width: int) -> Program:
        variant = VARIANTS[self._name]
        return Program(self._problem, self._settings, self._architecture, variant, width)
