# SPDX-License-Identifier: Apache-2.0
"""A part tuned and reported, and all parts of an experiment gathered into tables.

A rate is tuned on tuning seeds by validation loss, by the rule of `infwidth.stats.selection`;
reported runs have other seeds and are scored on the test split, too.
"""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.config.errors import UserError
from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.run_rows import Entry, result_of, rows_of, run_row
from infwidth.experiments.schema import Table
from infwidth.experiments.study import (
    Part,
    Place,
    first_places,
    has_mlps,
    run_spec,
    tuning_places,
)
from infwidth.infinite.support import require_memory
from infwidth.stats.selection import (
    Cell,
    Trial,
    count_extensions,
    neighbours,
    next_runs,
    selection_entry,
)
from infwidth.training.runs import Runs
from infwidth.training.spec import RunSpec

POINTS = 100
"""Of a curve of a study, at most."""


@dataclass(frozen=True)
class Bench:
    """What the runs of a part share; `data` is the digest of the tokens."""

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


def tune(bench: Bench, part: Part) -> tuple[dict[str, Any], list[Entry]]:
    """Chooses a variant's rate: the grid, then what the rule asks for, within the budget.

    Returns:
      What was chosen and tried, and the entries of the runs.

    Raises:
      UserError: every rate diverged.
    """
    name, width, tuning = part.variant, part.width, part.tuning
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
            raise UserError(f"{part.name}: every trunk rate diverged; lower {part.trunk_rate}")
        # At 0 the trunk stays as drawn, and no run diverges by it.
        trunk = f" or {part.trunk_rate}" if bench.training.trunk_learning_rate else ""
        rates = f"every readout rate diverged at width {width}; lower {part.rates}{trunk}"
        raise UserError(f"{part.name}: {rates}")
    return selection, entries


def tune_part(bench: Bench, part: Part) -> dict[str, Any]:
    """Tunes a variant in a condition at a width, by validation loss on the tuning seeds.

    Runs that are there already are found, not made again.

    Returns:
      `condition`, `variant`, `width`; `selection`, what tuning chose and tried; `entries`, the
      place of each run with its key.

    Raises:
      UserError: every rate diverged, or an infinite run would need more memory than there is.
    """
    if any(width is None for _, width in part.reports):
        tokens = part.training.batch_size * part.model.context
        require_memory(part.training.steps, tokens, part.model.d_model, part.model.layers)
    search = replace(bench, model=part.model, training=part.search)
    selection, entries = tune(search, part)
    if part.is_checked:
        full = replace(search, training=part.training)
        selection, checks = _checked(full, part, selection)
        entries = entries + checks
    return {
        "condition": part.condition,
        "variant": part.variant,
        "width": part.width,
        "selection": selection,
        "entries": entries,
    }


def report_part(
    bench: Bench, part: Part, tuned: dict[str, Any], reference: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Runs a tuned part on the reporting seeds; adds the entries of these runs to `tuned`.

    Args:
      bench: as of `tune_part`.
      part: which.
      tuned: what `tune_part` returned of it.
      reference: the same of the part whose rate the runs at one rate take, if there are any.
    """
    full = replace(bench, model=part.model, training=part.training)
    one_rate = None if reference is None else _chosen(reference)
    places = part.report_places(_chosen(tuned), one_rate)
    entries = [full.run(place)[0] for place in places]
    return tuned | {"entries": tuned["entries"] + entries}


def run_part(bench: Bench, part: Part) -> dict[str, Any]:
    """Tunes a part that has no runs at another's rate, and runs it on the reporting seeds."""
    return report_part(bench, part, tune_part(bench, part))


def _chosen(made: dict[str, Any]) -> Cell:
    return Cell(made["selection"]["learning_rate"], made["selection"]["kappa"])


def _checked(
    bench: Bench, part: Part, selection: dict[str, Any]
) -> tuple[dict[str, Any], list[Entry]]:
    """From the choice of a shorter search downhill, by validation loss at full length.

    The choice and its neighbours on the grid are run; while a neighbour is the best, its own
    neighbours are run, too. If all diverge, the search's choice stays.
    """
    chosen = Cell(selection["learning_rate"], selection["kappa"])
    rates = {trial["learning_rate"] for trial in selection["trials"]}
    entries, losses = [], {}
    best, cell = chosen, None
    for _ in range(1 + part.tuning.max_extensions):
        cell = best
        beside = neighbours(cell.learning_rate, rates)
        rates.update(beside)
        for each in (cell, *(Cell(rate, cell.kappa) for rate in beside)):
            if each in losses:
                continue
            place = Place("check", part.variant, part.width, each, part.tuning.seeds[0])
            entry, result = bench.run(place)
            done = result["status"] == "done"
            losses[each] = result["validation_loss"] if done else math.inf
            entries.append(entry)
        best = min(losses, key=losses.__getitem__)
        if best == cell:
            break
    interior = best == cell
    checked = {
        "learning_rate": best.learning_rate,
        "searched_learning_rate": chosen.learning_rate,
        "interior": interior,
        "note": "interior, at full length"
        if interior
        else "at full length a neighbour was not run",
    }
    return selection | checked, entries


def gather(
    schema: Mapping[str, Table],
    parts: Iterable[Mapping[str, Any]],
    runs: Path,
    points: int | None = None,
    documents: Sequence[str] = (),
) -> dict[str, pd.DataFrame]:
    """The tables of an experiment.

    Args:
      schema: of `runs`, and of `curves` (training losses of the reported runs) and `documents`
        (their losses on each test document) where it has these.
      parts: what `report_part` returned.
      runs: the folder of runs.
      points: of a curve, at most; None for all.
      documents: the names of the test documents.

    Raises:
      LostRun: a run's record is damaged or gone.
    """
    rows = [
        {"condition": part["condition"]} | run_row(entry, runs)
        for part in parts
        for entry in part["entries"]
    ]
    reported = sorted({row["key"] for row in rows if row["role"] == "report"})
    made = {
        "runs": rows,
        "curves": (point for key in reported for point in curve(key, runs, points)),
        "documents": (row for key in reported for row in _document_rows(key, runs, documents)),
    }
    return {name: table.frame(made[name]) for name, table in schema.items()}


def _document_rows(key: str, runs: Path, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    found = result_of(key, runs).get("test_documents", {})
    columns = (found.get(column, []) for column in ("document", "loss_sum", "tokens"))
    for document, loss_sum, tokens in zip(*columns, strict=True):
        row = {"document": document, "name": names[document], "loss_sum": loss_sum}
        yield {"key": key, "tokens": tokens} | row


def curve(key: str, runs: Path, points: int | None = None) -> Iterator[dict[str, Any]]:
    """The training loss of a run by step, rows of metrics pooled to `points` or fewer."""
    rows = rows_of(key, runs)
    size = -(-len(rows) // points) if points else 1
    for start in range(0, len(rows), size or 1):
        some = rows[start : start + size]
        losses = [math.nan if row["loss"] is None else row["loss"] for row in some]
        yield {
            "key": key,
            "step": some[-1]["step"],
            "loss": statistics.fmean(losses),
            "learning_rate": some[-1].get("learning_rate/trunk"),
        }
