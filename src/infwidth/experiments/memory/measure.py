# SPDX-License-Identifier: Apache-2.0
"""Bytes of the kernel form against the dense form: what is kept, and what a step takes.

The dense form of an MLP holds ω, M and the moments of its rule, O(H (D + E)); the kernel form the
inputs seen, their coefficients and ADAM*'s v, O(t (D + E)). Counted are the programs that train the
language models, all layers together: sizes of arrays, and what XLA reserves for a compiled step,
the same on every run. What a process really takes is measured beside them.
"""

import ctypes
import gc
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import pandas as pd

from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import VARIANTS
from infwidth.experiments.parts import Keeper
from infwidth.infinite.support import steps_with_room
from infwidth.training.infinite_step import InfiniteProgram
from infwidth.training.rules import Hyperparameters
from infwidth.training.step import Program, TrainState, compile_program

Form = Literal["adam_star", "adam", "kernel"]
"""The dense form under ADAM* and under elementwise Adam; the kernel form under ADAM*."""

VOCABULARY = 257
"""A small one: what is compared is the MLPs."""

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
"""Where Linux says how much of the machine's memory a process takes, and forgets the peak."""

if TYPE_CHECKING:
    from infwidth.config.settings import Settings


class Cell(NamedTuple):
    """A form and its size: H of a dense form, the number of steps seen of the kernel form."""

    form: Form
    size: int


class Bench(NamedTuple):
    """The model and the batch that all cells share."""

    model: ModelSettings
    batch_size: int

    @property
    def batch_shape(self) -> tuple[int, int, int]:
        """The shape of one step's tokens."""
        return 1, self.batch_size, self.model.context + 1

    def program(self, cell: Cell) -> tuple[Program, Callable[[], TrainState]]:
        """The program of a cell, and what makes its state."""
        training = TrainingSettings(
            batch_size=self.batch_size,
            steps=cell.size if cell.form == "kernel" else 1,
            warmup_steps=0,
            log_every=1,
            checkpoint_every=1,
        )
        if cell.form != "kernel":
            variant = VARIANTS["frozen" if cell.form == "adam" else "adam_star"]
            program = compile_program(self.model, training, variant, cell.size, VOCABULARY)
            return program, lambda: program.init(0)
        infinite = InfiniteProgram(self.model, training, VARIANTS["adam_star"], VOCABULARY)
        return infinite, lambda: infinite.resized(infinite.init(0), cell.size)


def tables(settings: "Settings", _keeper: Keeper) -> dict[str, pd.DataFrame]:
    """Counts the bytes of every form at every size; nothing is kept.

    Raises:
      UserError: the longest run of the kernel form would not fit into memory.
    """
    own, bench = settings.memory, Bench(settings.model, settings.training.batch_size)
    widths = sorted(own.widths)
    dense, adam = [[Cell(form, width) for width in widths] for form in ("adam_star", "adam")]
    kernel = [Cell("kernel", steps) for steps in sorted(own.steps_seen)]
    resident = [Cell("adam_star", own.resident_width)] if own.resident_width else []
    resident += [Cell("kernel", own.resident_steps)] if own.resident_steps else []
    return {
        "state": pd.DataFrame([state_bytes(bench, cell) for cell in (*dense, *adam, *kernel)]),
        "step": pd.DataFrame([step_bytes(bench, cell) for cell in (*dense, *kernel)]),
        "resident": pd.DataFrame(
            [resident_bytes(bench, cell) for cell in resident if can_measure()],
            columns=("form", "size", "counted", "resident"),
        ),
    }


def state_bytes(bench: Bench, cell: Cell) -> dict[str, Any]:
    """Bytes of the MLPs between two steps, of all layers, by part; those of the trunk left out."""
    _, make_state = bench.program(cell)
    state = jax.eval_shape(make_state)
    return _row(bench, cell) | {
        "features": _bytes(state.features),
        "readout": _bytes(state.readout),
        "optimizer": _bytes(state.optimizer["readout"]),
    }


def step_bytes(bench: Bench, cell: Cell) -> dict[str, Any]:
    """Bytes that XLA reserves for a training step of the whole model, by kind."""
    return _row(bench, cell) | _reserved(_compiled(bench, cell))


def resident_bytes(bench: Bench, cell: Cell) -> dict[str, Any]:
    """Bytes by which a process of its own grows by a state and a step, beside those counted."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        counted, resident = process.submit(_grow, bench, cell).result()
    return {**cell._asdict(), "counted": counted, "resident": resident}


def _grow(bench: Bench, cell: Cell) -> tuple[int, int]:
    """Takes a step; returns what is counted for it, and by how much this process grew."""
    # A program that is read from the cache brings megabytes of its own.
    jax.config.update("jax_enable_compilation_cache", False)
    step = _compiled(bench, cell)
    _, make_state = bench.program(cell)

    def prepare() -> TrainState:
        return jax.block_until_ready(make_state())

    def take_step(state: TrainState) -> None:
        tokens_SxBxT1 = jnp.zeros(bench.batch_shape, jnp.int32)
        jax.block_until_ready(step(state, _rates(), tokens_SxBxT1))

    return sum(_reserved(step).values()), growth(prepare, take_step)


def _reserved(step: Any) -> dict[str, int]:
    """What XLA reserves for a compiled step; outputs that take an argument's place count once."""
    found = step.memory_analysis()
    return {
        "arguments": found.argument_size_in_bytes,
        "outputs": found.output_size_in_bytes - found.alias_size_in_bytes,
        "temporary": found.temp_size_in_bytes,
    }


def _compiled(bench: Bench, cell: Cell) -> Any:
    """A cell's training step, compiled for one batch, its state given up."""
    program, make_state = bench.program(cell)

    def step(*arguments: Any) -> Any:
        # The method of finite width: the buffers of the kernel form have their size already.
        return Program.train(program, *arguments)

    return (
        jax.jit(step, donate_argnums=0)
        .lower(
            jax.eval_shape(make_state),
            jax.eval_shape(_rates),
            jax.ShapeDtypeStruct(bench.batch_shape, jnp.int32),
        )
        .compile()
    )


def _rates() -> Hyperparameters:
    return Hyperparameters(*(jnp.full((), 1e-3) for _ in Hyperparameters._fields))


def _row(bench: Bench, cell: Cell) -> dict[str, Any]:
    """A cell's name, and for the kernel form how many inputs there is room for."""
    tokens = bench.batch_size * bench.model.context
    room = steps_with_room(cell.size, tokens) if cell.form == "kernel" else 0
    return {"form": cell.form, "size": cell.size, "inputs": room * tokens}


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def can_measure() -> bool:
    """Whether this system tells a process its peak memory, and lets it start anew."""
    return _STATUS.exists() and _RESET.exists()


def growth(prepare: Callable[[], Any], work: Callable[[Any], None]) -> int:
    """Does some work; returns by how many bytes that and what it works on made this process larger.

    That is the peak of the resident memory during the work less what it was before the preparation,
    whose own passing needs do not count. Free memory is given back to the system before, so that
    none of it is used unseen.
    """
    _give_back()
    before = _bytes_of("VmRSS")
    things = [prepare()]
    _give_back()
    _RESET.write_text("5")
    work(things.pop())
    return _bytes_of("VmHWM") - before


def _give_back() -> None:
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _bytes_of(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"{_STATUS} has no {name}")
