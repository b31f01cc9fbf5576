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
from collections.abc import Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from infwidth.config.errors import UserError
from infwidth.config.variants import VARIANTS
from infwidth.data.digits import load_digits
from infwidth.experiments.architectures.models import Outcome, Problem, Program, make_problem
from infwidth.experiments.architectures.settings import Architecture, ArchitecturesSettings
from infwidth.experiments.parts import Keeper, Parts
from infwidth.experiments.study import (
    Place,
    first_places,
    has_mlps,
    tuning_places,
    widths_of,
)
from infwidth.stats.selection import Cell, Trial, count_extensions, next_runs, selection_entry
from infwidth.training.spec import variants_digest

if TYPE_CHECKING:
    from infwidth.config.settings import Settings

CODE = (__name__, "infwidth.data.digits")

_LOG = logging.getLogger(__name__)

# What decides which runs there are, and not what each of them is.
_BESIDE = {"architectures", "variants", "widths", "reference_width", "seeds", "tuning"}


def tables(settings: "Settings", keeper: Keeper) -> dict[str, pd.DataFrame]:
    """Trains what is not kept, and gathers all, for the tables of the module `measured`."""
    names = settings.architectures.architectures
    studies = [study for name in names for study in _studies(settings, name, keeper)]
    return {
        "selection": pd.DataFrame([study.selection for study in studies]),
        "runs": pd.concat([pd.DataFrame(study.runs) for study in studies], ignore_index=True),
        "images": pd.concat([i for study in studies for i in study.images], ignore_index=True),
    }


def part(settings: "Settings", name: Architecture, keeper: Keeper) -> int:
    """Trains the models of an architecture, and returns the number of runs; `tables` finds them."""
    return sum(len(study.runs) for study in _studies(settings, name, keeper))


def _studies(settings: "Settings", name: Architecture, keeper: Keeper) -> Iterator["Study"]:
    own = settings.architectures
    problem = make_problem(own, *load_digits())
    for variant in own.variants:
        yield Study(problem, own, name, variant, keeper(()))


class Study:
    """All runs of one variant in one architecture, done.

    `selection` is the row of what tuning chose; for the control it is the trunk's rate that its
    check prefers. `runs` has a row a run, `images` of each reported run a row a test image.
    """

    def __init__(
        self,
        problem: Problem,
        settings: ArchitecturesSettings,
        architecture: Architecture,
        name: str,
        parts: Parts,
    ) -> None:
        started, variant = time.monotonic(), VARIANTS[name]
        self._problem, self._settings, self._parts = problem, settings, parts
        self._variant, self._searched = name, has_mlps(variant)
        self._place = {"architecture": architecture, "variant": name}
        self._program = cache(partial(Program, problem, settings, architecture, variant))
        self._depends_on = settings.model_dump(mode="json", exclude=_BESIDE) | {
            "architecture": architecture,
            "variant": variant[:2],
            "code": variants_digest(CODE, [variant]),
        }
        self.runs: list[dict[str, Any]] = []
        self.images: list[pd.DataFrame] = []
        self._trained = 0
        self.selection = self._place | self._tune()
        cell = Cell(0.0)
        if self._searched:
            cell = Cell(self.selection["learning_rate"], self.selection["kappa"])
        for width in widths_of(name, settings.widths):
            for seed in settings.seeds:
                self._run(Place("report", name, width, cell, seed))
        if self._trained:
            seconds = time.monotonic() - started
            _LOG.info("%s, %s: %d runs in %.1f s", architecture, name, self._trained, seconds)

    def _tune(self) -> dict[str, Any]:
        """The grid, then what the rule asks for; of the control, the check of the trunk's rate."""
        tuning, reference = self._settings.tuning, self._settings.reference_width
        trials: list[Trial] = []
        places = first_places(self._variant, reference, tuning)
        while places:
            for place in places:
                row = self._run(place)
                cell = place.cell if self._searched else Cell(row["trunk_learning_rate"])
                lost = row["status"] == "diverged"
                trials.append(Trial(cell[0], row["validation_loss"], place.seed, lost, cell[1]))
            runs = next_runs(trials, tuning) if self._searched else []
            places = tuning_places(self._variant, reference, runs)
        axes = (tuning.learning_rates, tuning.kappas)
        extensions = count_extensions(trials, *axes) if self._searched else 0
        entry = selection_entry(trials, tuning.tolerance, extensions)
        if entry["learning_rate"] is None:
            setting = "tuning.learning_rates" if self._searched else "trunk_learning_rate"
            raise UserError(
                f"{self._variant} in the {self._place['architecture']}: every rate diverged; lower "
                f"architectures.{setting}"
            )
        return {name: value for name, value in entry.items() if name != "trials"}

    def _run(self, place: Place) -> dict[str, Any]:
        """The row of a run, which is trained if it is not kept; its test images if reported."""
        splits, reported = self._problem.splits, place.role == "report"
        trunk_rate = self._settings.trunk_learning_rate * place.trunk_factor
        rate = place.cell.learning_rate if place.width else None

        @cache
        def outcome() -> Outcome:
            self._trained += 1
            return self._program(place.width).run(trunk_rate, rate, place.cell.kappa, place.seed)

        def scores() -> pd.DataFrame:
            """What is kept of a run; of the test images only where the run is reported."""
            found = outcome()
            loss = {
                name: float(found.loss_A[images].mean(dtype=np.float64))
                for name, images in splits.items()
            }
            correct = float(found.correct_A[splits["test"]].mean())
            lost = found.diverged(self._settings.divergence_factor)
            row = {
                "status": "diverged" if lost else "done",
                "train_loss": loss["train"],
                "validation_loss": loss["validation"],
                "test_loss": loss["test"] if reported else math.nan,
                "test_accuracy": correct if reported else math.nan,
            }
            return pd.DataFrame([row])

        def images() -> pd.DataFrame:
            loss_I, correct_I = (x[splits["test"]] for x in outcome()[1:])
            return pd.DataFrame(
                {"image": np.arange(len(loss_I)), "loss": loss_I, "correct": correct_I}
            )

        depends_on = self._depends_on | {
            "width": place.width,
            "cell": place.cell,
            "trunk_learning_rate": trunk_rate,
            "seed": place.seed,
            "tested": reported,
        }
        label = "-".join(map(str, (*self._place.values(), place.width, place.seed)))
        row = {
            "role": place.role,
            **self._place,
            "width": place.width,
            "learning_rate": rate,
            "kappa": place.cell.kappa,
            "trunk_learning_rate": trunk_rate,
            "seed": place.seed,
            **self._parts.table(label, depends_on, scores).iloc[0].to_dict(),
        }
        self.runs.append(row)
        if reported:
            table = self._parts.table(f"{label}-images", depends_on, images)
            self.images.append(table.assign(**self._place, width=place.width, seed=place.seed))
        return row
