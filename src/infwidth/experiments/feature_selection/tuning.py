# SPDX-License-Identifier: Apache-2.0
"""The search for a rule's rates: the tuning rule of `infwidth.stats.selection`, on few seeds."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from infwidth.config.errors import UserError
from infwidth.experiments.feature_selection.settings import Rule, SearchSettings
from infwidth.stats.selection import Cell, Trial, count_extensions, next_cells, selection_entry


class Search(NamedTuple):
    """What a search found.

    Attributes:
      cell: the rates.
      selection: its row: rates, whether they are interior, and a note in words.
      trials: a row a tuning run.
    """

    cell: Cell
    selection: dict[str, Any]
    trials: list[dict[str, Any]]


def search(
    study: str,
    rule: Rule,
    settings: SearchSettings,
    tolerance: float,
    loss_of: Callable[[Cell, int], float],
) -> Search:
    """Chooses the rates of a rule.

    Args:
      study: which, for the tables.
      rule: which.
      settings: grid, budget and seeds.
      tolerance: validation losses that count as equal.
      loss_of: from rates and a seed to the validation loss; not finite where training diverged.

    Returns:
      The rates, and how they were found.

    Raises:
      UserError: every rate diverged.
    """
    unfrozen = rule == "unfrozen"
    kappas = settings.kappas if unfrozen else [None]
    cells = [Cell(rate, kappa) for rate in sorted(settings.learning_rates) for kappa in kappas]
    trials: list[Trial] = []
    extensions = 0
    while cells:
        for cell in cells:
            for seed in settings.seeds:
                loss = loss_of(cell, seed)
                lost = not math.isfinite(loss)
                trials.append(Trial(cell.learning_rate, loss, seed, lost, cell.kappa))
        extensions = count_extensions(
            trials, settings.learning_rates, settings.kappas if unfrozen else ()
        )
        cells = next_cells(trials, tolerance, settings.max_extensions - extensions)
    found = selection_entry(trials, tolerance, extensions)
    if found["learning_rate"] is None:
        raise UserError(
            f"{study}: every rate of {rule} diverged; lower feature_selection.tuning.learning_rates"
        )
    of = {"study": study, "rule": rule}
    chosen = ("learning_rate", "kappa", "interior", "note", "extensions")
    tried = ("learning_rate", "kappa", "seed", "validation_loss")
    return Search(
        Cell(found["learning_rate"], found["kappa"]),
        of | {name: found[name] for name in chosen},
        [of | {name: getattr(trial, name) for name in tried} for trial in trials],
    )
