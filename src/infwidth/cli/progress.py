# SPDX-License-Identifier: Apache-2.0
"""Progress of training: a live bar on a terminal, a line now and then in a log."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from infwidth.training.loop import Row
from infwidth.training.spec import RunSpec

_SECONDS_BETWEEN_LINES = 20.0


class TrainingProgress:
    """Shows the rows of metrics as they come.

    Args:
      name: what is trained, as in "adam_star".
    """

    def __init__(self, name: str):
        self._name = name
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._last_line = 0.0
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[loss]}"),
                console=Console(stderr=True),
            )

    def __enter__(self) -> "TrainingProgress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, spec: RunSpec, row: Row) -> None:
        """Takes one row of a run."""
        rate = "" if spec.learning_rate is None else f" η={spec.learning_rate:g}"
        kappa = "" if spec.kappa is None else f" κ={spec.kappa:g}"
        width = "∞" if spec.width is None else spec.width
        label = f"{self._name} H={width}{rate}{kappa} seed {spec.seed}"
        steps = spec.training.steps
        loss = f"loss {row['loss']:.4f}"
        if self._bar is not None:
            task = self._tasks.get(spec.key)
            if task is None:
                task = self._tasks[spec.key] = self._bar.add_task(label, total=steps, loss=loss)
            self._bar.update(task, completed=row["step"], loss=loss)
            return
        now = time.monotonic()
        if row["step"] == steps or now - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = now
            speed = f"{row['tokens_per_s']:,.0f} tokens/s"
            print(f"{label}  step {row['step']}/{steps}  {loss}  {speed}", file=sys.stderr)
