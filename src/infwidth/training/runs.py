# SPDX-License-Identifier: Apache-2.0
"""Gets the result of a run: from its folder where it is complete, by training where it is not."""

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from filelock import FileLock, Timeout

from infwidth.config.errors import Preempted
from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import Variant
from infwidth.data.batches import Batches, EvaluationWindows, evaluation_windows
from infwidth.data.tokens import TokenDataset, open_split
from infwidth.training import processes
from infwidth.training.execute import Row, execute
from infwidth.training.processes import sigterm_deferred
from infwidth.training.records import RunRecord, recall
from infwidth.training.spec import RunSpec
from infwidth.training.step import Program, compile_program

if TYPE_CHECKING:
    from infwidth.training.infinite_step import InfiniteProgram

_log = logging.getLogger(__name__)
_LOCK = ".lock"
_SECONDS_BETWEEN_TRIES = 0.5
Report = Callable[[RunSpec, Row], None]


class Runs:
    """The runs under one folder, on one data set.

    Args:
      folder: where each run has its folder, named by its key.
      dataset: the tokens.
      retrain: forget what is cached (once a process) and train anew.
      report: called with every new row of metrics.
    """

    def __init__(self, folder: Path, dataset: TokenDataset, retrain: bool, report: Report) -> None:
        self._folder = folder
        self._dataset = dataset
        self._retrain = retrain
        self._renewed: set[str] = set()
        self._report = report
        self._program = cache(_compile)
        self._windows = cache(partial(run_windows, dataset))

    def result(self, spec: RunSpec) -> dict[str, Any]:
        """The result of a run; trains it, or goes on with it, unless it is complete.

        Two jobs never train the same run: the second waits for the first, and finds its result. A
        run that diverges has a result too, with status "diverged".

        Raises:
          Preempted: SIGTERM came; the state is saved, and the same call goes on from it.
        """
        folder = self._folder / spec.key
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            if processes.is_first() and self._retrain and spec.key not in self._renewed:
                _empty(folder)
            self._renewed.add(spec.key)
            known = processes.agree(recall(folder, spec.record()) if processes.is_first() else None)
            return known or processes.agree(self._train(spec, folder))

    def _train(self, spec: RunSpec, folder: Path) -> dict[str, Any]:
        program = self._program(
            spec.model,
            spec.training,
            Variant(spec.features, spec.readout, "", ""),
            spec.width,
            spec.vocabulary_size,
        )
        infinite = spec.width is None
        record = RunRecord(folder, cast("InfiniteProgram", program).resized if infinite else None)
        batches = run_batches(self._dataset, spec)

        def report(row: Row) -> None:
            if processes.is_first():
                self._report(spec, row)

        with sigterm_deferred() as stop:
            try:
                result = execute(
                    spec,
                    program,
                    batches,
                    lambda split: self._windows(
                        split, spec.model.context, spec.training.evaluation_tokens
                    ),
                    record,
                    report,
                    stop,
                )
            finally:
                record.close()
        record.finish(result)
        if stop():
            raise Preempted(f"asked to stop, after {folder.name} was complete")
        return result


def run_batches(dataset: "TokenDataset", spec: "RunSpec") -> Batches:
    """The batches that a run is trained on."""
    split = open_split(dataset, "train")
    return Batches(split, spec.model.context, spec.training.batch_size, spec.seed)


def run_windows(
    dataset: "TokenDataset", split: str, context: int, tokens: int
) -> EvaluationWindows:
    """What a split is scored on."""
    return evaluation_windows(open_split(dataset, split), context, tokens)


def _compile(
    model: ModelSettings,
    training: TrainingSettings,
    variant: Variant,
    width: int | None,
    vocabulary_size: int,
) -> Program:
    if width is None:
        # Only here, so that the key of a finite run does not hang on code that it does not use.
        from infwidth.training.infinite_step import InfiniteProgram

        return InfiniteProgram(model, training, variant, vocabulary_size)
    return compile_program(model, training, variant, width, vocabulary_size)


def in_training(folder: Path) -> bool:
    """Whether a living process trains the run of `folder`."""
    if not folder.is_dir():
        return False
    with if_free(folder) as free:
        return not free


@contextmanager
def if_free(folder: Path) -> Iterator[bool]:
    """Keeps a run from being trained, unless it is in training; says whether it is not."""
    lock = FileLock(folder / _LOCK)
    try:
        yield _taken(lock)
    finally:
        lock.release()


def _taken(lock: FileLock) -> bool:
    """Takes a lock if nobody holds it."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One job at a time in a run's folder; the kernel frees the lock when its holder dies.

    The first process takes the lock, for all that share the run.
    """
    lock = FileLock(folder / _LOCK)
    first = processes.is_first()
    waited = False
    # Processes that waited hours in one collective operation for the first would time out.
    while not processes.agree(_taken(lock) if first else None):
        if first and not waited:
            _log.info("%s: another process trains this run; waiting", folder)
        waited = True
        time.sleep(_SECONDS_BETWEEN_TRIES)
    try:
        yield
    finally:
        lock.release()


def _empty(folder: Path) -> None:
    for child in folder.iterdir():
        if child.is_dir():
            shutil.rmtree(child)
        elif child.name != _LOCK:
            child.unlink()
