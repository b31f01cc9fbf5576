# SPDX-License-Identifier: Apache-2.0
"""One run from its first step to its result: all that its numbers come from, and nothing else.

A run's key is a digest of this module and of what it imports (`infwidth.training.spec`); keeping
results, locks and progress displays are other modules' work.
"""

import math
import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from infwidth.data.batches import Batches, EvaluationWindows
from infwidth.training.loop import Journal, Row, train
from infwidth.training.rules import Hyperparameters, in_gradients, sgd_unit
from infwidth.training.step import Program, TrainState

if TYPE_CHECKING:
    from infwidth.training.spec import RunSpec


UNIT_BATCHES = 8
"""Batches that SGD's unit is measured on: that of one alone decides much of a final loss."""


class ResumableJournal(Journal, Protocol):
    """A journal that may already hold the beginning of the run."""

    def begin(self, settings: dict[str, Any], template: TrainState) -> TrainState:
        """Takes the run up at its last kept state; at the template if there is none."""


def execute(
    spec: "RunSpec",
    program: Program,
    batches: Batches,
    windows: Callable[[str], EvaluationWindows],
    journal: ResumableJournal,
    report: Callable[[Row], None],
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Trains a run, or goes on with it, and scores it on its held-out splits.

    Args:
      spec: what the run is.
      program: the compiled functions of its variant and width.
      batches: its training batches.
      windows: what is scored of a split, by the split's name.
      journal: keeps metrics and states.
      report: called with every row of metrics.
      stop: asked after every chunk of steps.

    Returns:
      The result, as JSON values: status "done" or "diverged" (a loss, trained or held out, is not
      finite or beyond the bound), losses in nats per token, costs.

    Raises:
      Preempted: `stop` said yes; the journal holds the state.
    """
    state = program.init(spec.seed)
    unit = _rate_unit(spec, program, state, batches)
    hyperparameters = Hyperparameters(
        trunk=jnp.float32(spec.training.trunk_learning_rate),
        readout=jnp.float32((spec.learning_rate or 0.0) * unit),
        kappa=jnp.float32(spec.kappa or 0.0),
    )
    state = journal.begin(spec.record(), state)
    if spec.features == "measured" and int(state.step) == 0:
        from infwidth.training.scales import with_measured_scales

        state = with_measured_scales(spec, program, state, batches)
    outcome = train(program, spec.training, hyperparameters, batches, state, journal, report, stop)
    rows = journal.rows()
    result = {
        "key": spec.key,
        "status": outcome.status,
        "steps": outcome.step,
        "rate_unit": unit,
        **_cost(spec, program, rows),
    }
    if outcome.status == "done":
        scores = {
            split: _score(program, outcome.state, windows(split), spec.training.batch_size)
            for split in spec.splits
        }
        if not all(math.isfinite(loss) for loss, _ in scores.values()):
            return result | {"status": "diverged"}
        result["train_loss"] = statistics.fmean(_last_tenth(rows))
        for split, (loss, documents) in scores.items():
            result[f"{split}_loss"], result[f"{split}_documents"] = loss, documents
    return result


def _rate_unit(spec: "RunSpec", program: Program, state: TrainState, batches: Batches) -> float:
    if not in_gradients(spec.readout):
        return 1.0
    units = [
        float(sgd_unit(program.functional_gradients(state, batches.at(step))))
        for step in range(UNIT_BATCHES)
    ]
    # The unit at the mean over the batches of the mean square of G.
    return statistics.fmean(unit**-2 for unit in units) ** -0.5


def _score(
    program: Program, state: TrainState, windows: EvaluationWindows, size: int
) -> tuple[float, dict[str, list]]:
    """The loss over a split's windows, nats per token, and its sums by document."""
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


def _last_tenth(rows: list[Row]) -> list[float]:
    losses = [row["loss"] for row in rows]
    return losses[-max(1, len(losses) // 10) :]


def _cost(spec: "RunSpec", program: Program, rows: list[Row]) -> dict[str, Any]:
    # The median leaves out compilation and the pauses of a run that was stopped and taken up.
    chunk = statistics.median(row["seconds"] for row in rows)
    steps = rows[-1]["step"]
    return {
        "tokens": steps * spec.training.batch_size * spec.model.context,
        "parameters": program.parameter_counts,
        "parameters_trained": sum(program.parameter_counts[group] for group in program.groups),
        "optimizer_bytes": program.optimizer_bytes,
        "flops": steps * program.flops_per_step,
        "device_seconds": chunk * steps / spec.training.log_every * spec.training.mesh.devices,
        "device": jax.devices()[0].device_kind,
    }
