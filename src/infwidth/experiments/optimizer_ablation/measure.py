# SPDX-License-Identifier: Apache-2.0
"""Which part of the optimizer closes the gap, and when: many rules at one width, a few in contexts.

An arm is a variant in a context. Each is tuned by itself, on the same grid and seeds, by the rule
of the paper's experiment, and reported on other seeds. Runs that the paper's experiment has made
already are found, not trained again.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.experiments.optimizer_ablation.plan import (
    Arm,
    in_context,
    rate_at,
    seeds_of_arm,
    trunk_rate_setting,
    tuned_widths_of_arm,
    widths_of_arm,
)
from infwidth.experiments.optimizer_ablation.settings import OptimizerAblationSettings
from infwidth.experiments.places import Place
from infwidth.experiments.run_rows import run_row
from infwidth.experiments.tuning import Bench, Named, tune
from infwidth.stats.selection import Cell


def run_arm(bench: Bench, arm: Arm, own: OptimizerAblationSettings) -> dict[str, Any]:
    """Tunes an arm and runs it on the reporting seeds.

    Args:
      bench: with the settings and the tokens as configured for the arm's vocabulary.
      arm: which.
      own: widths, seeds and the search for the rate.

    Returns:
      `context`, `variant`; `selection`, what tuning chose and tried at the common width, and
      `selection_at`, the same at other widths that were tuned; `entries`, the place of each run
      with its key.

    Raises:
      UserError: every rate diverged.
    """
    model, training = in_context(arm.context, bench.model, bench.training, own)
    bench = replace(bench, model=model, training=training)
    named = Named(
        arm.name, "optimizer_ablation.tuning.learning_rates", trunk_rate_setting(arm.context)
    )
    tuned = {
        width: tune(bench, arm.variant, width, own.tuning, named)
        for width in tuned_widths_of_arm(arm, own)
    }
    entries = [entry for of in tuned.values() for entry in of.entries]
    for width in widths_of_arm(arm, own):
        selection = tuned.get(width, tuned[own.width]).selection
        chosen = Cell(selection["learning_rate"], selection["kappa"])
        cell = chosen._replace(learning_rate=rate_at(width, chosen.learning_rate, arm, own))
        places = [
            Place("report", arm.variant, width, cell, seed) for seed in seeds_of_arm(arm, own)
        ]
        entries += [bench.run(place)[0] for place in places]
    others = {str(width): of.selection for width, of in tuned.items() if width != own.width}
    return {
        **arm._asdict(),
        "selection": tuned[own.width].selection,
        "selection_at": others,
        "entries": entries,
    }


def selections(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What tuning chose, by context-variant; by context-variant-width where not the common one."""
    found = {}
    for part in parts:
        name = f"{part['context']}-{part['variant']}"
        found[name] = part["selection"]
        found |= {f"{name}-{width}": one for width, one in part["selection_at"].items()}
    return found


def gather(parts: Sequence[dict[str, Any]], runs: Path) -> dict[str, pd.DataFrame]:
    """The table `runs` of all arms.

    Args:
      parts: what `run_arm` returned.
      runs: the folder of runs.

    Returns:
      `runs`: a row a (context, run, role), losses in nats per token.

    Raises:
      LostRun: a run's record is damaged or gone.
    """
    rows = [
        {"context": part["context"]} | run_row(entry, runs)
        for part in parts
        for entry in part["entries"]
    ]
    return {"runs": pd.DataFrame(rows)}
