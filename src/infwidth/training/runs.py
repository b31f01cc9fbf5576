"""Gets the result of a run: from its folder where it is complete, by training where it is not."""

import logging
import shutil
import statistics
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from filelock import FileLock, Timeout

from infwidth.config.variants import Variant
from infwidth.data.batches import Batches, EvaluationWindows, evaluation_windows
from infwidth.data.tokens import TokenDataset
from infwidth.training.loop import Row, train
from infwidth.training.records import RunRecord, read_result
from infwidth.training.rules import Hyperparameters, sgd_unit
from infwidth.training.spec import RunSpec
from infwidth.training.step import Program, TrainState, compile_program

_log = logging.getLogger(__name__)
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
        self._program = cache(compile_program)
        self._windows = cache(self._evaluation_windows)

    def result(self, spec: RunSpec) -> dict[str, Any]:
        """The result of a run; trains it, or goes on with it, unless it is complete.

        Two processes never train the same run: the second waits for the first, and finds its
        result. A run that diverges has a result too, with status "diverged".
        """
        folder = self._folder / spec.key
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            if self._retrain and spec.key not in self._renewed:
                for child in folder.iterdir():
                    if child.name != ".lock":
                        shutil.rmtree(child) if child.is_dir() else child.unlink()
            self._renewed.add(spec.key)
            return read_result(folder) or self._train(spec, RunRecord(folder))

    def _train(self, spec: RunSpec, record: RunRecord) -> dict[str, Any]:
        program = self._program(
            spec.model,
            spec.training,
            Variant(spec.features, spec.readout, "", ""),
            spec.width,
            spec.vocabulary_size,
        )
        batches = Batches(
            self._dataset.split("train"), spec.model.context, spec.training.batch_size, spec.seed
        )
        state = program.init(spec.seed)
        unit = _rate_unit(spec, program, state, batches)
        hyperparameters = Hyperparameters(
            trunk=jnp.float32(spec.training.trunk_learning_rate),
            readout=jnp.float32((spec.learning_rate or 0.0) * unit),
            kappa=jnp.float32(spec.kappa or 0.0),
        )
        state = record.begin(spec.record(), state)
        outcome = train(
            program,
            spec.training,
            hyperparameters,
            batches,
            state,
            record,
            lambda row: self._report(spec, row),
        )
        result = {
            "key": spec.key,
            "status": outcome.status,
            "steps": outcome.step,
            "rate_unit": unit,
            **_cost(spec, program, record.rows()),
        }
        if outcome.status == "done":
            result["train_loss"] = statistics.fmean(_last_tenth(record.rows()))
            for split in spec.splits:
                result[f"{split}_loss"], result[f"{split}_documents"] = self._score(
                    spec, program, outcome.state, split
                )
        record.finish(result)
        return result

    def _evaluation_windows(self, split: str, context: int, tokens: int) -> EvaluationWindows:
        return evaluation_windows(self._dataset.split(split), context, tokens)

    def _score(
        self, spec: RunSpec, program: Program, state: TrainState, split: str
    ) -> tuple[float, dict[str, list]]:
        windows = self._windows(split, spec.model.context, spec.training.evaluation_tokens)
        size = spec.training.batch_size
        padding = -len(windows.tokens) % size
        tokens_NxT1 = np.pad(windows.tokens, ((0, padding), (0, 0)))
        mask_NxT = np.pad(windows.mask, ((0, padding), (0, 0)))
        sums = [
            program.evaluate(state, tokens_NxT1[i : i + size], mask_NxT[i : i + size])
            for i in range(0, len(tokens_NxT1), size)
        ]
        losses_N = np.concatenate([np.asarray(s, np.float64) for s in sums])[: len(windows.tokens)]
        counts_N = windows.mask.sum(axis=1)
        documents = np.unique(windows.document)
        by_document = {
            "document": documents.tolist(),
            "loss_sum": [float(losses_N[windows.document == d].sum()) for d in documents],
            "tokens": [int(counts_N[windows.document == d].sum()) for d in documents],
        }
        return float(losses_N.sum() / counts_N.sum()), by_document


def _rate_unit(spec: RunSpec, program: Program, state: TrainState, batches: Batches) -> float:
    if spec.readout != "sgd":
        return 1.0
    gradients = program.functional_gradients(state, batches.at(0))
    return float(sgd_unit(gradients))


def _last_tenth(rows: list[Row]) -> list[float]:
    losses = [row["loss"] for row in rows]
    return losses[-max(1, len(losses) // 10) :]


def _cost(spec: RunSpec, program: Program, rows: list[Row]) -> dict[str, Any]:
    # The median leaves out compilation and the pauses of a run that was stopped and taken up.
    chunk = statistics.median(row["seconds"] for row in rows)
    steps = rows[-1]["step"]
    return {
        "tokens": steps * spec.training.batch_size * spec.model.context,
        "parameters": program.parameter_counts,
        "parameters_trained": sum(program.parameter_counts[group] for group in program.groups),
        "optimizer_bytes": program.optimizer_bytes,
        "flops": steps * program.flops_per_step,
        "device_seconds": chunk * steps / spec.training.log_every,
        "device": jax.devices()[0].device_kind,
    }


def in_training(folder: Path) -> bool:
    """Whether a living process trains the run of `folder`."""
    if not folder.is_dir():
        return False
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


class _lock:
    """One process at a time in a run's folder; the kernel frees the lock when its holder dies."""

    def __init__(self, folder: Path):
        self._lock = FileLock(folder / ".lock")

    def __enter__(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            _log.info("%s: another process trains this run; waiting", self._lock.lock_file)
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
