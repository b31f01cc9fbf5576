# SPDX-License-Identifier: Apache-2.0
"""Bytes of the kernel form against the dense form, and where they cross: numbers without error.

Legend: W widths, T sizes of the kernel form. All layers are counted together, without the trunk
where a state is meant, with it where a step is.
"""

import math
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from infwidth.experiments.schema import Table
from infwidth.experiments.tables import Experiment, MeasuredTables
from infwidth.stats.effects import Effect

TABLES = {
    "state": Table(("form", "size", "inputs"), counted=("features", "readout", "optimizer")),
    # What a compiled program needs besides is the compiler's own affair.
    "step": Table(
        ("form", "size", "inputs"), counted=("arguments", "outputs"), loose=("temporary",)
    ),
    "resident": Table(("form", "size"), counted=("counted",), loose=("resident",)),
}

Ints = NDArray[np.int64]

Quantity = Literal["state", "trained", "step"]
"""Everything that is kept; of a dense form M and its moments alone; all that a step takes."""

_PARTS: dict[Quantity, tuple[str, ...]] = {
    "state": ("features", "readout", "optimizer"),
    "trained": ("readout", "optimizer"),
    "step": ("arguments", "outputs", "temporary"),
}


class Crossing(NamedTuple):
    """Where the kernel form outgrows a dense form of `size` bytes, in inputs seen.

    NaN where it is larger from the start.
    """

    width: int
    size: int
    inputs: float


ACCOUNTS: dict[Quantity, str] = {
    "state": "everything kept",
    "trained": "readout and moments",
    "step": "a training step",
}
"""What is counted of the dense form; the kernel form counts whole in all of them."""

FLOAT_BYTES = 4


class Memory(Experiment):
    """What the experiment measured."""

    def dense(self, quantity: Quantity, form: str = "adam_star") -> tuple[Ints, Ints]:
        """width_W, ascending, and bytes_W of a dense form, `adam_star` or `adam`."""
        rows = self._rows(quantity, form)
        return rows["size"].to_numpy(), _total(rows, quantity)

    def kernel(self, quantity: Quantity) -> tuple[Ints, Ints]:
        """inputs_T that fit into the buffers, ascending, each once, and bytes_T of the kernel form.

        It can do without nothing: for `trained` the inputs seen count, too.
        """
        quantity = "state" if quantity == "trained" else quantity
        rows = self._rows(quantity, "kernel").drop_duplicates("inputs")
        return rows["inputs"].to_numpy(), _total(rows, quantity)

    def crossings(self, quantity: Quantity, form: str = "adam_star") -> list[Crossing]:
        """By dense width, by a line through the kernel form's sizes (and 0, if there is one)."""
        inputs_T, bytes_T = self.kernel(quantity)
        if len(inputs_T) == 1:
            inputs_T, bytes_T = np.append(0, inputs_T), np.append(0, bytes_T)
        per_input, start = np.polyfit(inputs_T, bytes_T, 1)
        found = []
        for width, size in zip(*self.dense(quantity, form), strict=True):
            inputs = (size - start) / per_input
            found.append(Crossing(int(width), int(size), inputs if inputs > 0 else math.nan))
        return found

    def inputs_per_unit(self, quantity: Quantity, form: str = "adam_star") -> float:
        """Inputs seen at the crossing over H, at the largest width."""
        last = self.crossings(quantity, form)[-1]
        return float(last.inputs / last.width)

    def resident(self) -> pd.DataFrame:
        """What XLA counts for a step and what a process took; empty where it cannot tell."""
        return self.measured.tables["resident"]

    def steps_of_kernel(self) -> pd.DataFrame:
        """What a step of the kernel form takes, a row for each number of inputs, ascending."""
        return self._rows("step", "kernel").drop_duplicates("inputs")

    def _rows(self, quantity: Quantity, form: str) -> pd.DataFrame:
        table = "step" if quantity == "step" else "state"
        return self.rows(table, form=form).sort_values("size")


def load(folder: Path | str) -> Memory:
    """Reads and checks a folder of measurements."""
    return Memory(MeasuredTables.load(folder, TABLES, "memory", "model", "training"))


def effects(measured: Memory) -> dict[str, list[Effect]]:
    """Growth, crossing, and whether a step holds the whole feature matrix.

    `growth_exponent`: p in bytes ∝ t^p of the kernel form, and in bytes ∝ H^p of the dense ones.
    `crossing_inputs_per_unit`: the inputs seen at which the kernel form outgrows a dense layer of
    the largest width, over that width; by what is counted. `step_over_full_matrix`: a step's
    temporary memory over that of one matrix of kernel values, batch × inputs seen, in float32.
    """
    batch = measured.settings["training"]["batch_size"] * measured.settings["model"]["context"]
    growth = {
        "kernel form, over t": measured.kernel("state"),
        "dense, ADAM*, over H": measured.dense("state"),
        "dense, Adam, over H": measured.dense("state", "adam"),
    }
    crossings = {label: measured.inputs_per_unit(each) for each, label in ACCOUNTS.items()}
    return {
        "growth_exponent": [
            Effect.exact(label, float(np.polyfit(np.log(sizes), np.log(taken), 1)[0]))
            for label, (sizes, taken) in growth.items()
            if len(sizes) > 1
        ],
        "crossing_inputs_per_unit": [
            Effect.exact(label, x) for label, x in crossings.items() if not math.isnan(x)
        ],
        "step_over_full_matrix": [
            Effect.exact(f"t = {row.inputs:,}", row.temporary / (FLOAT_BYTES * batch * row.inputs))
            for row in measured.steps_of_kernel().itertuples()
        ],
    }


def _total(rows: pd.DataFrame, quantity: Quantity) -> Ints:
    return rows[list(_PARTS[quantity])].sum(axis=1).to_numpy()
