# SPDX-License-Identifier: Apache-2.0
"""The folder of one run: settings, rows of metrics, checkpoints and, last, the result.

Every file carries its digest (`infwidth.stored`), or is checked by the run's key.
"""

import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from infwidth.atomic import disk_errors, replacing_file
from infwidth.config.errors import UserError
from infwidth.stored import Damaged, dump_json, finite, load_json, parse_json, set_aside, write_json
from infwidth.training import processes
from infwidth.training.checkpoints import Checkpoints
from infwidth.training.execute import Row
from infwidth.training.spec import key_of
from infwidth.training.step import TrainState

SETTINGS = "settings.json"
METRICS = "metrics.jsonl"
RESULT = "result.json"

_log = logging.getLogger(__name__)


class RunRecord:
    """Keeps a run so that it can be killed at any point and goes on with the same numbers.

    Where several processes share the run, each has one of these: the first one's writes rows and
    result, and all write their parts of checkpoints. For runs whose state grows, `resized` gives,
    from the state of step 0, one as large as at another step.
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
        """Starts the run, or takes it up at its last checkpoint; `template` is the state of step 0.

        Rows of metrics after the step of the state that it returns are gone.
        """
        if self._writes:
            write_json(self.folder / SETTINGS, settings)
            _set_damaged_rows_aside(self.folder)
        rows = processes.agree(read_rows(self.folder) if self._writes else None)
        self._checkpoints = Checkpoints(self.folder / "checkpoints")
        # A state is kept once its rows are there: without them the run cannot go on from it.
        restored = self._checkpoints.restore(
            partial(self._resized, template), rows[-1]["step"] if rows else 0
        )
        step, state = restored or (0, template)
        self._rows = [row for row in rows if row["step"] <= step]
        if self._writes:
            _write_rows(self.folder, self._rows)
        return state

    def rows(self) -> list[Row]:
        """The rows of metrics since the run's first step."""
        return list(self._rows)

    def append(self, row: Row) -> None:
        """Adds a row of metrics, durably."""
        self._rows.append(finite(row))
        if not self._writes:
            return
        with disk_errors(self.folder), (self.folder / METRICS).open("ab") as file:
            file.write(_line(row, self.folder))
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


class LostRun(UserError):
    """The record of a run, or a file of it, is damaged or gone; `key` is the run's."""

    def __init__(self, folder: Path, file: str = ""):
        what = folder / file if file else f"{folder}: the record of this run"
        super().__init__(f"{what} is damaged or gone")
        self.key = folder.name


class Record(NamedTuple):
    """All that is kept of a finished run but its states; its key is the digest of its settings."""

    settings: dict[str, Any]
    result: dict[str, Any]
    rows: list[Row]


def read_record(folder: Path) -> Record | None:
    """The record of a run; None if the run is not complete, or a part of its record is damaged."""
    result, rows, settings = read_result(folder), read_rows(folder), read_settings(folder)
    if result is None or settings is None or not is_whole(rows, result):
        return None
    return Record(settings, result, rows)


def write_record(folder: Path, record: Record) -> None:
    """Writes the record of a finished run, the result last, as a run in training does."""
    write_json(folder / SETTINGS, record.settings)
    _write_rows(folder, record.rows)
    write_json(folder / RESULT, record.result)


def recall(folder: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The result of a run whose record is sound; None where it is to be trained, on or anew.

    What is damaged is named and set aside; settings are written again.
    """
    if not (folder / RESULT).exists():
        return None
    result, rows = read_result(folder), read_rows(folder)
    if result is None or not is_whole(rows, result):
        why = "damaged" if result is None else f"of a run whose {METRICS} is damaged or missing"
        _log.warning("%s is %s: %s", folder / RESULT, why, set_aside(folder / RESULT))
        return None
    if read_settings(folder) is None:
        write_json(folder / SETTINGS, settings)
    return result


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a complete run; None if the run is not complete, or its result is damaged."""
    result = _read(folder / RESULT)
    return result if result and result.get("key", folder.name) == folder.name else None


def read_rows(folder: Path) -> list[Row]:
    """The rows of metrics of a run, complete or not, up to the first that is cut or damaged."""
    return _rows_in(folder)[0]


def read_settings(folder: Path) -> dict[str, Any] | None:
    """What a run is; None if that is missing or damaged, or another run's."""
    settings = _read(folder / SETTINGS)
    return settings if settings and key_of(settings) == folder.name else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = load_json(path)
    except (FileNotFoundError, Damaged):
        return None
    return value if isinstance(value, dict) else None


def is_whole(rows: list[Row], result: dict[str, Any]) -> bool:
    """Whether the rows are all of a complete run: one a chunk, to its last step."""
    return bool(rows) and rows[-1]["step"] == result.get("steps") == len(rows) * rows[0]["step"]


def _rows_in(folder: Path) -> tuple[list[Row], bool]:
    """The sound rows from the first on, and whether all that follows is a line that a kill cut."""
    try:
        content = (folder / METRICS).read_bytes()
    except FileNotFoundError:
        return [], True
    rows: list[Row] = []
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            row = parse_json(line, of=folder.name)
            if row["step"] != number * (rows or [row])[0]["step"]:
                return rows, False
        except (Damaged, KeyError, TypeError):
            return rows, False
        rows.append(row)
    return rows, True


def _set_damaged_rows_aside(folder: Path) -> None:
    rows, sound = _rows_in(folder)
    if not sound:
        place, after = folder / METRICS, f"after row {len(rows)}"
        _log.warning("%s is damaged %s: %s, and the run goes on", place, after, set_aside(place))
        _write_rows(folder, rows)


def _write_rows(folder: Path, rows: list[Row]) -> None:
    with replacing_file(folder / METRICS) as temporary:
        temporary.write_bytes(b"".join(_line(row, folder) for row in rows))


def _line(row: Row, folder: Path) -> bytes:
    return dump_json(row, of=folder.name) + b"\n"
