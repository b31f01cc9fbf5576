# SPDX-License-Identifier: Apache-2.0
"""A part tuned and reported, and all parts of an experiment gathered into tables."""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.experiments.places import Place
from infwidth.experiments.run_rows import Entry, result_of, rows_of, run_row
from infwidth.experiments.schema import Table
from infwidth.experiments.study import Part
from infwidth.experiments.tuning import Bench, Named, tune
from infwidth.infinite.room import require_memory
from infwidth.stats.selection import Cell, neighbours

POINTS = 100
"""Of a curve of a study, at most."""


def tune_part(bench: Bench, part: Part) -> dict[str, Any]:
    """Tunes a variant in a condition at a width, by validation loss on the tuning seeds.

    Runs that are there already are found, not made again.

    Args:
      bench: with the tokens of the part's vocabulary.
      part: which, and its settings.

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
    named = Named(part.name, part.rates, part.trunk_rate)
    selection, entries = tune(search, part.variant, part.width, part.tuning, named)
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
    """Runs a tuned part on the reporting seeds.

    Args:
      bench: as of `tune_part`.
      part: which, and its settings.
      tuned: what `tune_part` returned of it.
      reference: the same of the part whose rate the runs at one rate take, if there are any.

    Returns:
      As `tune_part`, with the entries of these runs, too.
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
    checked = {
        "learning_rate": best.learning_rate,
        "searched_learning_rate": chosen.learning_rate,
        "interior": best == cell,
        "note": "interior, at full length"
        if best == cell
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
