# SPDX-License-Identifier: Apache-2.0
"""The folder of one run: settings, rows of metrics, checkpoints and, last, the result."""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from infwidth.atomic import disk_errors, finite, write_atomically, write_json
from infwidth.training import processes
from infwidth.training.checkpoints import Checkpoints
from infwidth.training.loop import Row
from infwidth.training.step import TrainState

SETTINGS = "settings.json"
METRICS = "metrics.jsonl"
RESULT = "result.json"


class RunRecord:
    """Keeps a run so that it can be killed at any point and goes on with the same numbers.

    Where several processes share the run, each has one of these: the first one's writes rows and
    result, and all write their parts of checkpoints.

    Args:
      folder: the run's own.
      resized: for runs whose state grows, (a state of step 0, step) -> one as large as at that
        step.
    """

    def __init__(
        self, folder: Path, resized: Callable[[TrainState, int], TrainState] | None = None
    ):
        self.folder = folder
        self._resized = resized or (lambda state, step: state)
        folder.mkdir(parents=True, exist_ok=True)
        self._checkpoints: Checkpoints | None = None
        self._writes = processes.is_first()
        self._rows: list[Row] = []

    def begin(self, settings: dict[str, Any], template: TrainState) -> TrainState:
        """Starts the run, or takes it up at its last checkpoint.

        Args:
          settings: what the run is, for its `settings.json`.
          template: the state at step 0.

        Returns:
          The state to go on from; rows of metrics after its step are gone.
        """
        if self._writes:
            write_json(self.folder / SETTINGS, settings)
        self._checkpoints = Checkpoints(self.folder / "checkpoints")
        step, state = self._checkpoints.restore(partial(self._resized, template)) or (0, template)
        kept = [row for row in read_rows(self.folder) if row["step"] <= step]
        self._rows = processes.agree(kept)
        if self._writes:
            write_atomically(self.folder / METRICS, "".join(map(_line, kept)))
        return state

    def rows(self) -> list[Row]:
        """The rows of metrics since the run's first step."""
        return list(self._rows)

    def append(self, row: Row) -> None:
        """Adds a row of metrics, durably."""
        self._rows.append(finite(row))
        if not self._writes:
            return
        with disk_errors(self.folder), (self.folder / METRICS).open("a") as file:
            file.write(_line(row))
            file.flush()
            os.fsync(file.fileno())

    def save(self, step: int, state: TrainState) -> None:
        """Keeps the state after `step` steps; it is written while training goes on."""
        assert self._checkpoints is not None, "begin() comes first"
        self._checkpoints.save(step, state)

    def finish(self, result: dict[str, Any]) -> None:
        """Writes the result, which marks the run as complete."""
        self.close()
        if self._writes:
            write_json(self.folder / RESULT, result)

    def close(self) -> None:
        """Waits until all that was saved is safely on disk."""
        if self._checkpoints is not None:
            self._checkpoints.close()
            self._checkpoints = None


class Record(NamedTuple):
    """All that is kept of a finished run but its states.

    Attributes:
      settings: what it is; its key is their digest.
      result: what it measured.
      rows: its metrics, a row a chunk of steps.
    """

    settings: dict[str, Any]
    result: dict[str, Any]
    rows: list[Row]


def read_record(folder: Path) -> Record | None:
    """The record of a run; None if the run is not complete, or a part of its record is missing."""
    result, rows = read_result(folder), read_rows(folder)
    if result is None or not rows or rows[-1]["step"] != result["steps"]:
        return None
    if len(rows) * rows[0]["step"] != result["steps"]:
        return None
    try:
        settings = json.loads((folder / SETTINGS).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return Record(settings, result, rows)


def write_record(folder: Path, record: Record) -> None:
    """Writes the record of a finished run, the result last, as a run in training does."""
    write_json(folder / SETTINGS, record.settings)
    write_atomically(folder / METRICS, "".join(map(_line, record.rows)))
    write_json(folder / RESULT, record.result)


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a complete run; None if the run is not complete."""
    try:
        return json.loads((folder / RESULT).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def read_rows(folder: Path) -> list[Row]:
    """The rows of metrics of a run, complete or not; a line that a kill cut short is left out."""
    try:
        lines = (folder / METRICS).read_text().splitlines()
    except FileNotFoundError:
        return []
    rows = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _line(row: Row) -> str:
    return json.dumps(finite(row)) + "\n"
