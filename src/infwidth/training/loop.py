# SPDX-License-Identifier: Apache-2.0
"""Trains one run: chunks of steps on the device, metrics read one chunk late, exact resume."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from infwidth.config.errors import Preempted
from infwidth.config.settings import TrainingSettings
from infwidth.data.batches import Batches
from infwidth.training.rules import Hyperparameters
from infwidth.training.step import Program, TrainState

Row = dict[str, Any]


class Journal(Protocol):
    """Where a run's progress is kept: rows of metrics and states."""

    def rows(self) -> list[Row]:
        """The rows written so far."""

    def append(self, row: Row) -> None:
        """Adds a row, durably."""

    def save(self, step: int, state: TrainState) -> None:
        """Keeps the state after `step` steps, durably."""


class Outcome(NamedTuple):
    """How training ended.

    Attributes:
      status: "done" or "diverged".
      state: the last state (of a diverged run: not to be used).
      step: steps taken when it ended.
    """

    status: str
    state: TrainState
    step: int


def train(
    program: Program,
    training: TrainingSettings,
    hyperparameters: Hyperparameters,
    batches: Batches,
    state: TrainState,
    journal: Journal,
    report: Callable[[Row], None],
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Trains from `state` (at the step it holds) to `training.steps`.

    Args:
      program: the compiled step of this (variant, width).
      training: steps, chunk length, checkpoints and the bound of divergence.
      hyperparameters: rates, as arrays.
      batches: batches as a pure function of the step.
      state: the state to start from; its buffers are donated.
      journal: metrics and checkpoints; rows after the state's step must already be gone.
      report: called with every row, for a progress display.
      stop: asked after every chunk; where it says yes, the state is kept and training ends.

    Returns:
      The outcome; a loss that is not finite, or above its start by the set factor, is "diverged".

    Raises:
      Preempted: `stop` said yes; the same call goes on from there.
    """
    reader = _Reader(training, journal, report)
    step = int(state.step)
    while step < training.steps:
        tokens_KxBxT1 = batches.chunk(step, training.log_every)
        state, metrics = program.train(state, hyperparameters, tokens_KxBxT1)
        sizes = program.probe(state, tokens_KxBxT1[-1])
        step += training.log_every
        reader.read()
        reader.expect(step, metrics, sizes, tokens_KxBxT1[..., 1:].size)
        stopping = stop()
        keep = step % training.checkpoint_every == 0 or step == training.steps or stopping
        if keep and reader.diverged_at is None:
            # A state is kept only once its own losses are known to be sound.
            reader.read()
        if reader.diverged_at is not None:
            return Outcome("diverged", state, reader.diverged_at)
        if keep:
            journal.save(step, state)
        if stopping:
            raise Preempted(f"asked to stop after step {step} of {training.steps}")
    return Outcome("done", state, training.steps)


class _Reader:
    """Reads a chunk's metrics while the device works on the next; watches for divergence."""

    def __init__(self, training: TrainingSettings, journal: Journal, report: Callable[[Row], None]):
        rows = journal.rows()
        self._factor = training.divergence_factor
        self._first_loss: float | None = rows[0]["first_loss"] if rows else None
        self._journal = journal
        self._report = report
        self._expected: tuple[int, dict, dict, int] | None = None
        self._read_at = time.perf_counter()
        self.diverged_at: int | None = None

    def expect(
        self, step: int, metrics: dict[str, jax.Array], sizes: dict[str, jax.Array], tokens: int
    ) -> None:
        """Takes the metrics of the chunk that ends at `step`, which may not be computed yet."""
        self._expected = (step, metrics, sizes, tokens)

    def read(self) -> None:
        """Waits for the expected metrics, if any, and writes them as a row."""
        if self._expected is None:
            return
        (step, metrics, sizes, tokens), self._expected = self._expected, None
        loss_K = np.asarray(metrics["loss"], np.float64)
        now = time.perf_counter()
        row: Row = {
            "step": step,
            "loss": float(loss_K.mean()),
            "first_loss": float(loss_K[0]),
            "last_loss": float(loss_K[-1]),
            "seconds": now - self._read_at,
            "tokens_per_s": tokens / (now - self._read_at),
        }
        row |= {name: float(np.asarray(v)[-1]) for name, v in metrics.items() if name != "loss"}
        row |= {name: float(np.asarray(value)) for name, value in sizes.items()}
        self._read_at = now
        self._journal.append(row)
        self._report(row)
        if self._first_loss is None:
            self._first_loss = row["first_loss"]
        worst = float(loss_K.max())
        if not math.isfinite(worst) or worst > self._factor * self._first_loss:
            self.diverged_at = step
