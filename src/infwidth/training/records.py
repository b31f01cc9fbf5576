"""The folder of one run: settings, rows of metrics, checkpoints and, last, the result."""

import json
import math
import os
from pathlib import Path
from typing import Any

from infwidth.config.errors import UserError
from infwidth.training.checkpoints import Checkpoints
from infwidth.training.loop import Row
from infwidth.training.step import TrainState

SETTINGS = "settings.json"
METRICS = "metrics.jsonl"
RESULT = "result.json"


class RunRecord:
    """Keeps a run so that it can be killed at any point and goes on with the same numbers."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._checkpoints: Checkpoints | None = None

    def begin(self, settings: dict[str, Any], template: TrainState) -> TrainState:
        """Starts the run, or takes it up at its last checkpoint.

        Args:
          settings: what the run is, for its `settings.json`.
          template: the state at step 0.

        Returns:
          The state to go on from; rows of metrics after its step are gone.
        """
        write_json(self.folder / SETTINGS, settings)
        self._checkpoints = Checkpoints(self.folder / "checkpoints")
        step, state = self._checkpoints.restore(template) or (0, template)
        kept = [row for row in self.rows() if row["step"] <= step]
        write_atomically(self.folder / METRICS, "".join(map(_line, kept)))
        return state

    def rows(self) -> list[Row]:
        """The rows of metrics; a line that was cut short by a kill is passed over."""
        return read_rows(self.folder)

    def append(self, row: Row) -> None:
        """Adds a row of metrics, durably."""
        with _disk_errors(self.folder), (self.folder / METRICS).open("a") as file:
            file.write(_line(row))
            file.flush()
            os.fsync(file.fileno())

    def save(self, step: int, state: TrainState) -> None:
        """Keeps the state after `step` steps."""
        assert self._checkpoints is not None, "begin() comes first"
        self._checkpoints.save(step, state)

    def finish(self, result: dict[str, Any]) -> None:
        """Writes the result, which marks the run as complete."""
        if self._checkpoints is not None:
            self._checkpoints.close()
        write_json(self.folder / RESULT, result)


class _disk_errors:
    """Turns a full disk into one line that says what to do."""

    def __init__(self, folder: Path):
        self._folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError):
            raise UserError(
                f"{self._folder}: cannot write ({error.strerror}); mend that and run the same "
                "command again, it goes on from the last checkpoint"
            ) from error


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a complete run; None if the run is not complete."""
    try:
        return json.loads((folder / RESULT).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def read_rows(folder: Path) -> list[Row]:
    """The rows of metrics of a run, complete or not."""
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


def write_json(path: Path, content: Any) -> None:
    """Writes JSON so that a reader sees all of it or none; numbers that are not finite are null."""
    write_atomically(path, json.dumps(_finite(content), indent=1, sort_keys=True) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Writes a file so that a reader, or a kill, sees all of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with _disk_errors(path.parent):
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def _line(row: Row) -> str:
    return json.dumps(_finite(row)) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
