# SPDX-License-Identifier: Apache-2.0
"""One run from its first step to its result: all that its numbers come from, and nothing else.

A run's key is a digest of this module and of what it imports (`infwidth.training.spec`); keeping
results, locks and progress displays are other modules' work.

Shapes: B sequences of T + 1 tokens, K steps a chunk, N tokens or windows, H width, E outputs.
"""

import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding

from infwidth.config.errors import Preempted
from infwidth.config.settings import TrainingSettings
from infwidth.data.batches import Batches, EvaluationWindows
from infwidth.models.features import FeatureMLP
from infwidth.models.variables import Parameters
from infwidth.training.rules import Hyperparameters, in_gradients, sgd_unit
from infwidth.training.sharded_step import place
from infwidth.training.step import Program, TrainState

if TYPE_CHECKING:
    from infwidth.training.spec import RunSpec

Row = dict[str, Any]
"""Metrics of a chunk of steps."""

UNIT_BATCHES = 8
"""Batches that SGD's unit is measured on: that of one alone decides much of a final loss."""


class Journal(Protocol):
    """Where a run's progress is kept: rows of metrics and states."""

    def rows(self) -> list[Row]:
        """The rows written so far."""

    def append(self, row: Row) -> None:
        """Adds a row, durably."""

    def save(self, step: int, state: TrainState) -> None:
        """Keeps the state after `step` steps, durably."""


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

    `windows` gives what is scored of a split by its name, `report` gets every row of metrics, and
    `stop` is asked after every chunk of steps.

    Returns:
      The result, as JSON values: status "done" or "diverged" (a loss, trained or held out, is not
      finite or beyond the bound), losses in nats per token, costs.

    Raises:
      Preempted: `stop` said yes; the journal holds the state, and the same call goes on from there.
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


class Outcome(NamedTuple):
    """How training ended: "done" or "diverged", after so many steps; then the state is no use."""

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
    """Trains from the step that `state` holds to the last: chunks of steps on the device.

    Metrics are read one chunk late. The state's buffers are donated, and the journal's rows after
    its step must already be gone. A loss that is not finite, or above its start by the set factor,
    is "diverged".
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


OTHER_SEED = 1_000_000
"""What is added to a run's seed for the stream `other`."""


def with_measured_scales(
    spec: "RunSpec", program: Program, state: TrainState, batches: Batches
) -> TrainState:
    """The state of a run before its first step, with the scales that are measured by then.

    They are measured on the first batches of the run, with its parameters as drawn and M = 0; on
    the stream `other` with the same features in a trunk of another seed, on that seed's batches.
    Where scales are measured while training the state stays as it was.
    """
    scales = spec.training.scales
    if scales.hold_after != 0:
        return state
    start = state
    if scales.stream == "other":
        seed = spec.seed + OTHER_SEED
        start, batches = program.init(seed)._replace(features=state.features), batches.of_seed(seed)
    start = start._replace(readout=jax.tree.map(jnp.zeros_like, start.readout))
    of_batch: Callable[..., Parameters] = partial(_gradient_squares, program)
    if scales.source == "activation":
        of_batch = jax.jit(partial(_activation_squares, program))
    total_H = {name: np.zeros(len(m_HxE)) for name, m_HxE in state.readout.items()}
    for step in range(scales.batches):
        for name, square_H in of_batch(start, batches.at(step)).items():
            total_H[name] += np.asarray(square_H, np.float64)
    if scales.permuted:
        rng = np.random.default_rng(spec.seed)
        total_H = {name: rng.permutation(total_H[name]) for name in sorted(total_H)}
    measured = {name: square_H / scales.batches for name, square_H in total_H.items()}
    old = optax.tree.get(state.optimizer["readout"], "mean_square")
    readout = optax.tree.set(
        state.optimizer["readout"], mean_square=jax.tree.map(_as_it_lies, measured, old)
    )
    return state._replace(optimizer={**state.optimizer, "readout": readout})


def _gradient_squares(
    program: Program, state: TrainState, tokens_BxT1: np.ndarray
) -> dict[str, jax.Array]:
    """The mean of G² over the outputs, for each unit of each readout."""
    gradients = program.functional_gradients(state, tokens_BxT1)
    return {name: jnp.mean(jnp.square(g_HxE), axis=1) for name, g_HxE in gradients.items()}


def _activation_squares(program: Program, state: TrainState, tokens_BxT1: jax.Array) -> Parameters:
    """The mean of g² over the tokens, for each unit of each readout."""
    squares: Parameters = {}

    def spy(layer: FeatureMLP, name: str, x_DxN: jax.Array) -> jax.Array:
        squares[f"{name}/m_HxE"] = jnp.mean(jnp.square(layer.features(x_DxN)), axis=1)
        return layer(x_DxN)

    model = program.model(state)
    if model.has_mlp:
        model.mlp = partial(spy, cast(FeatureMLP, model.mlp), "mlp")
    for index, block in enumerate(model.blocks):
        if block.has_mlp:
            block.mlp = partial(spy, cast(FeatureMLP, block.mlp), f"blocks/{index}/mlp")
    # Who observes has each block computed once, and not in the form that is computed again.
    model(tokens_BxT1[:, :-1], lambda *_: None)
    return squares


def _as_it_lies(value: np.ndarray, like: jax.Array) -> jax.Array:
    """An array in the type of another, where that lies."""
    host = value.astype(like.dtype)
    lies = like.sharding
    return place(host, lies) if isinstance(lies, NamedSharding) else jnp.asarray(host)
