# SPDX-License-Identifier: Apache-2.0
"""Runs of language models, and how the learning rate of a variant is chosen.

A rate is tuned on tuning seeds by validation loss; reported runs have other seeds and are scored on
the test split, too. The rule itself stands in `infwidth.stats.selection`.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from infwidth.config.errors import UserError
from infwidth.config.section import TuningSettings
from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.places import (
    Place,
    first_places,
    has_mlps,
    run_spec,
    tuning_places,
)
from infwidth.experiments.run_rows import Entry
from infwidth.stats.selection import Cell, Trial, count_extensions, next_runs, selection_entry
from infwidth.training.runs import Runs
from infwidth.training.spec import RunSpec


@dataclass(frozen=True)
class Bench:
    """What the runs of a part share.

    Attributes:
      runs: gets the result of a run.
      model: shape of the transformer.
      training: optimisation settings.
      data: digest of the tokens.
      vocabulary_size: V.
      platform: "cpu", "gpu" or "tpu".
    """

    runs: Runs
    model: ModelSettings
    training: TrainingSettings
    data: str
    vocabulary_size: int
    platform: str

    def spec(self, place: Place) -> RunSpec:
        """All that the numbers of the run at `place` depend on."""
        return run_spec(
            place, self.model, self.training, self.data, self.vocabulary_size, self.platform
        )

    def run(self, place: Place) -> tuple[Entry, dict[str, Any]]:
        """Gets the run at `place`: its entry, and its result."""
        spec = self.spec(place)
        entry = {
            "role": place.role,
            "key": spec.key,
            "variant": place.variant,
            "width": place.width,
            "learning_rate": spec.learning_rate,
            "kappa": spec.kappa,
            "trunk_learning_rate": spec.training.trunk_learning_rate,
            "seed": place.seed,
        }
        return entry, self.runs.result(spec)


class Tuned(NamedTuple):
    """The chosen cell of a variant, and the runs that led to it."""

    selection: dict[str, Any]
    entries: list[Entry]


class Named(NamedTuple):
    """How a message names an arm, and the settings that its rates come from.

    Attributes:
      arm: as in "ntk" or "short-ntk".
      rates: the grid of the readout's rates.
      trunk_rate: the rate of all but the MLPs.
    """

    arm: str
    rates: str = "lm_width.tuning.learning_rates"
    trunk_rate: str = "training.trunk_learning_rate"


def tune(bench: Bench, name: str, width: int, tuning: TuningSettings, named: Named) -> Tuned:
    """Chooses a variant's rate: the grid, then what the rule asks for, within the budget.

    Args:
      bench: makes the runs.
      name: of the variant.
      width: H of the runs; those without MLPs have none.
      tuning: grid, seeds and rule.
      named: for the message, if every rate diverges.

    Raises:
      UserError: every rate diverged.
    """
    searched = has_mlps(ALL_VARIANTS[name])
    entries: list[Entry] = []
    trials: list[Trial] = []
    places = first_places(name, width, tuning)
    while places:
        for place in places:
            entry, result = bench.run(place)
            cell = place.cell if searched else Cell(entry["trunk_learning_rate"])
            diverged = result["status"] == "diverged"
            loss = math.inf if diverged else result["validation_loss"]
            entries.append(entry)
            trials.append(Trial(cell.learning_rate, loss, place.seed, diverged, cell.kappa))
        if not searched:
            break
        places = tuning_places(name, width, next_runs(trials, tuning))
    extensions = count_extensions(trials, tuning.learning_rates, tuning.kappas) if searched else 0
    selection = selection_entry(trials, tuning.tolerance, extensions)
    if selection["learning_rate"] is None:
        if not searched:
            raise UserError(f"{named.arm}: every trunk rate diverged; lower {named.trunk_rate}")
        # At 0 the trunk stays as drawn, and no run diverges by it.
        trunk = f" or {named.trunk_rate}" if bench.training.trunk_learning_rate else ""
        rates = f"every readout rate diverged at width {width}; lower {named.rates}{trunk}"
        raise UserError(f"{named.arm}: {rates}")
    return Tuned(selection, entries)
