# SPDX-License-Identifier: Apache-2.0
"""From a run's place and result to a row of a tidy table."""

import math
from pathlib import Path
from typing import Any

from infwidth.config.errors import AS_BEFORE, UserError
from infwidth.training.records import read_result

Entry = dict[str, Any]
"""A run's place in an experiment (role, variant, width, rates, seed) together with its key."""


def run_row(entry: Entry, runs: Path, rule: str) -> dict[str, Any]:
    """The row of a run: losses in nats per token, width inf if infinite, NaN for what there is not.

    Args:
      entry: of the run.
      runs: the folder of runs.
      rule: the workflow's rule that trains it, for the message.

    Raises:
      UserError: the run's result is gone.
    """
    return row_of(entry, result_of(entry["key"], runs, rule))


def result_of(key: str, runs: Path, rule: str) -> dict[str, Any]:
    """The result of a run; arguments and errors are those of `run_row`."""
    result = read_result(runs / key)
    if result is None:
        raise UserError(
            f"{runs / key}: this run's result is gone; train it again with "
            f"`snakemake --cores all -R {rule}`, {AS_BEFORE}"
        )
    return result


def row_of(entry: Entry, result: dict[str, Any]) -> dict[str, Any]:
    """The row of a run whose result is read."""
    return {
        "key": entry["key"],
        "role": entry["role"],
        "variant": entry["variant"],
        "width": math.inf if entry["width"] is None else float(entry["width"]),
        "learning_rate": _number(entry["learning_rate"]),
        "kappa": _number(entry["kappa"]),
        "trunk_learning_rate": entry["trunk_learning_rate"],
        "seed": entry["seed"],
        "status": result["status"],
        "steps": result["steps"],
        "train_loss": _number(result.get("train_loss")),
        "validation_loss": _number(result.get("validation_loss")),
        "test_loss": _number(result.get("test_loss")),
        "sgd_unit": _number(result["rate_unit"]),
        "tokens": result["tokens"],
        "flops": float(result["flops"]),
        "device_seconds": result["device_seconds"],
        "device": result["device"],
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
