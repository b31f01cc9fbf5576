# SPDX-License-Identifier: Apache-2.0
"""The infinite-width transformer against finite widths, from the same trunk and batches.

Every variant is tuned at one finite width and runs at all finite widths; those that keep a kernel
also run at infinite width, at the same rate: no rate is chosen by an infinite run. SGD's rate is in
units of each model's own first batch, which tend to the infinite model's as the width grows.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.experiments.infinite_lm.settings import InfiniteLmSettings
from infwidth.experiments.lm_width.measure import Bench, Named, tune
from infwidth.experiments.lm_width.plan import Place, widths_of
from infwidth.experiments.run_rows import Entry, rows_of, run_row
from infwidth.infinite.room import require_memory
from infwidth.stats.selection import Cell

EXTRA = "extra"
"""The role of finite runs that are made for `width_limit` alone."""


def run_variant(bench: Bench, name: str, own: InfiniteLmSettings) -> dict[str, Any]:
    """Tunes a variant and runs it at every width and seed, infinite width last.

    Args:
      bench: with the training settings of `training_of`.
      name: the variant.
      own: widths, seeds and the search for the rate.

    Returns:
      `selection`, what tuning chose and tried, and `entries`, the place of each run with its key.

    Raises:
      UserError: every rate diverged, or an infinite run would need more memory than there is.
    """
    if name in own.infinite_variants:
        tokens = own.batch_size * bench.model.context
        require_memory(own.steps, tokens, bench.model.d_model, bench.model.layers)
    named = Named(name, "infinite_lm.tuning.learning_rates", "infinite_lm.trunk_learning_rate")
    selection, entries = tune(bench, name, own.reference_width, own.tuning, named)
    cell = Cell(selection["learning_rate"], selection["kappa"])
    for width in widths_of(name, own.widths):
        entries += _run(bench, name, width, cell, own)
    if name in own.infinite_variants:
        for width in sorted(set(own.extra_widths) - set(own.widths)):
            entries += [e | {"role": EXTRA} for e in _run(bench, name, width, cell, own)]
        entries += [_run_infinite(bench, name, cell, seed) for seed in own.seeds]
    return {"selection": selection, "entries": entries}


def _run(bench: Bench, name: str, width: int, cell: Cell, own: InfiniteLmSettings) -> list[Entry]:
    return [bench.run(Place("report", name, width, cell, seed))[0] for seed in own.seeds]


def _run_infinite(bench: Bench, name: str, cell: Cell, seed: int) -> Entry:
    spec = replace(bench.spec(Place("report", name, 0, cell, seed)), width=None)
    bench.runs.result(spec)
    return {
        "role": "report",
        "key": spec.key,
        "variant": name,
        "width": None,
        "learning_rate": spec.learning_rate,
        "kappa": spec.kappa,
        "trunk_learning_rate": spec.training.trunk_learning_rate,
        "seed": seed,
    }


def gather(parts: list[dict[str, Any]], runs: Path) -> dict[str, pd.DataFrame]:
    """The tables `runs` and `curves` of all variants.

    Args:
      parts: what `run_variant` returned, one a variant.
      runs: the folder of runs.

    Returns:
      `runs`: a row a (run, role), losses in nats per token, width inf where it is infinite.
      `curves`: a row a logged stretch of a reported run: step and mean training loss.

    Raises:
      LostRun: a run's record is damaged or gone.
    """
    entries = [entry for part in parts for entry in part["entries"]]
    reported = [entry["key"] for entry in entries if entry["role"] == "report"]
    curves = [
        {"key": key, "step": row["step"], "loss": math.nan if row["loss"] is None else row["loss"]}
        for key in reported
        for row in rows_of(key, runs)
    ]
    return {
        "runs": pd.DataFrame([run_row(entry, runs) for entry in entries]),
        "curves": pd.DataFrame(curves, columns=["key", "step", "loss"]),
    }
