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

from infwidth.analysis.selection import Cell
from infwidth.config.contexts import BASE, CONTEXTS
from infwidth.config.optimizer_ablation import OptimizerAblationSettings
from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.lm_width import Bench, tune
from infwidth.experiments.lm_width_plan import Place, has_mlps
from infwidth.experiments.optimizer_ablation_plan import Arm
from infwidth.experiments.run_rows import run_row


def in_context(
    name: str, model: ModelSettings, training: TrainingSettings, own: OptimizerAblationSettings
) -> tuple[ModelSettings, TrainingSettings]:
    """The settings of the runs of a context."""
    chunk = training.log_every
    changed: dict[str, dict[str, Any]] = {
        "short": {
            "steps": max(chunk, training.steps // 3 // chunk * chunk),
            "warmup_steps": training.warmup_steps // 3,
        },
        "small_batch": {"batch_size": max(1, training.batch_size // 4)},
        "sgd_trunk": {
            "trunk_optimizer": "sgd",
            "trunk_learning_rate": own.sgd_trunk_learning_rate,
        },
        "weight_decay": {"readout_decay": own.readout_decay},
    }
    reshaped: dict[str, dict[str, Any]] = {
        "vocabulary_readout": {"readout_target": "vocabulary"},
        "standard": {"readout_init": "ntk"},
    }
    return (
        model.model_copy(update=reshaped.get(name, {})),
        training.model_copy(update=changed.get(name, {})),
    )


def run_arm(bench: Bench, arm: Arm, own: OptimizerAblationSettings) -> dict[str, Any]:
    """Tunes an arm and runs it on the reporting seeds.

    Args:
      bench: with the settings and the tokens as configured for the arm's vocabulary.
      arm: which.
      own: widths, seeds and the search for the rate.

    Returns:
      `context`, `variant`; `selection`, what tuning chose and tried; `entries`, the place of each
      run with its key.

    Raises:
      UserError: every rate diverged.
    """
    model, training = in_context(arm.context, bench.model, bench.training, own)
    bench = replace(bench, model=model, training=training)
    selection, entries = tune(bench, arm.variant, own.width, own.tuning)
    chosen = Cell(selection["learning_rate"], selection["kappa"])
    for width in _widths(arm, own):
        cell = chosen._replace(learning_rate=_rate_at(width, chosen.learning_rate, arm, own))
        places = [Place("report", arm.variant, width, cell, seed) for seed in _seeds(arm, own)]
        entries += [bench.run(place)[0] for place in places]
    return {**arm._asdict(), "selection": selection, "entries": entries}


def _widths(arm: Arm, own: OptimizerAblationSettings) -> Sequence[int]:
    if not has_mlps(ALL_VARIANTS[arm.variant]):
        return [0]
    others = arm.context != BASE and CONTEXTS[arm.context].at_widths
    return sorted([own.width, *own.standard_widths]) if others else [own.width]


def _seeds(arm: Arm, own: OptimizerAblationSettings) -> Sequence[int]:
    fresh = arm.context != BASE and CONTEXTS[arm.context].fresh_seeds
    return own.confirmation_seeds if fresh else own.seeds


def _rate_at(width: int, rate: float, arm: Arm, own: OptimizerAblationSettings) -> float:
    """The standard readout is W = M/H, moved by η at every width: M's rate is H η."""
    if arm.context == BASE or not CONTEXTS[arm.context].standard:
        return rate
    return float(f"{rate * width / own.width:.4g}")


def gather(parts: Sequence[dict[str, Any]], runs: Path) -> dict[str, pd.DataFrame]:
    """The table `runs` of all arms.

    Args:
      parts: what `run_arm` returned.
      runs: the folder of runs.

    Returns:
      `runs`: a row a (context, run, role), losses in nats a token.

    Raises:
      UserError: a run's result is gone.
    """
    rows = [
        {"context": part["context"]} | run_row(entry, runs, "optimizer_ablation_train")
        for part in parts
        for entry in part["entries"]
    ]
    return {"runs": pd.DataFrame(rows)}
