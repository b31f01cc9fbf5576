# SPDX-License-Identifier: Apache-2.0
"""What the records of runs say: rows of tables, where runs come from, and which are lost."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infwidth.config.errors import AS_BEFORE, UserError
from infwidth.stored import set_aside
from infwidth.training.execute import Row
from infwidth.training.records import (
    METRICS,
    RESULT,
    SETTINGS,
    LostRun,
    is_whole,
    read_result,
    read_rows,
    read_settings,
)

Entry = dict[str, Any]
"""A run's place in an experiment (role, variant, width, rates, seed) together with its key."""


@contextmanager
def trained_again(files: Iterable[Path]) -> Iterator[None]:
    """Where a run is lost, sets aside what vouches for it, so that the workflow trains it again.

    Args:
      files: what commands that train wrote, with the keys of their runs.

    Raises:
      UserError: a run is lost.
    """
    try:
        yield
    except LostRun as lost:
        vouching = [path for path in files if lost.key.encode() in path.read_bytes()]
        done = [f"{path} is {set_aside(path)}" for path in vouching]
        raise UserError(
            f"{'; '.join([str(lost), *done])}: run the workflow again, which trains this run anew, "
            f"{AS_BEFORE}"
        ) from None


def run_origins(runs: Path, keys: Iterable[str]) -> dict[str, Any]:
    """Code, software and platform of runs, which one collection has in common but for the code.

    Args:
      runs: the folder of runs.
      keys: of those that are asked about; a run of two experiments may be named twice.

    Returns:
      `software`, `platform`, `count`, and `code`, the digests, one for each rule that trains;
      nothing if there are no runs.

    Raises:
      LostRun: the settings of a run are damaged or gone.
      UserError: they were made with several versions of a package, or on several platforms.
    """
    records = []
    for key in sorted(set(keys)):
        record = read_settings(runs / key)
        if record is None:
            raise LostRun(runs / key, SETTINGS)
        records.append(record)
    if not records:
        return {}
    for record in records:
        for what in ("software", "platform"):
            if record[what] != records[0][what]:
                raise UserError(
                    f"{runs}: runs of one experiment have different {what} ({records[0][what]} and "
                    f"{record[what]}): delete the experiment's folders `parts` and `tuning`, and "
                    "run the workflow again, which trains what is of another kind anew"
                )
    return {
        "software": records[0]["software"],
        "platform": records[0]["platform"],
        "count": len(records),
        "code": sorted({record["code"] for record in records}),
    }


def run_row(entry: Entry, runs: Path) -> dict[str, Any]:
    """The row of a run: losses in nats per token, width inf if infinite, NaN for what there is not.

    Raises:
      LostRun: the run's result is damaged or gone.
    """
    result = result_of(entry["key"], runs)
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
        "parameters_trained": result["parameters_trained"],
        "optimizer_state_bytes": result["optimizer_bytes"],
        **{f"parameters_{group}": count for group, count in result["parameters"].items()},
    }


def result_of(key: str, runs: Path) -> dict[str, Any]:
    """The result of a run; errors are those of `run_row`."""
    result = read_result(runs / key)
    if result is None:
        raise LostRun(runs / key, RESULT)
    return result


def rows_of(key: str, runs: Path) -> list[Row]:
    """All rows of metrics of a finished run.

    Raises:
      LostRun: some are damaged or gone.
    """
    rows = read_rows(runs / key)
    if not is_whole(rows, result_of(key, runs)):
        raise LostRun(runs / key, METRICS)
    return rows


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
