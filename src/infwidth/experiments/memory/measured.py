# SPDX-License-Identifier: Apache-2.0
"""Bytes of the kernel form against the dense form, and where they cross.

Legend: W widths, T sizes of the kernel form. All layers are counted together, without the trunk
where a state is meant, with it where a step is.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from infwidth.experiments.schema import Table
from infwidth.experiments.tables import Experiment, MeasuredTables

TABLES = {
    "state": Table(("form", "size", "inputs"), counted=("features", "readout", "optimizer")),
    # What a compiled program needs besides is the compiler's own affair.
    "step": Table(
        ("form", "size", "inputs"), counted=("arguments", "outputs"), loose=("temporary",)
    ),
    "resident": Table(("form", "size"), counted=("counted",), loose=("resident",)),
}

Quantity = Literal["state", "trained", "step"]
"""Everything that is kept; of a dense form M and its moments alone; all that a step takes."""

_PARTS: dict[Quantity, tuple[str, ...]] = {
    "state": ("features", "readout", "optimizer"),
    "trained": ("readout", "optimizer"),
    "step": ("arguments", "outputs", "temporary"),
}


@dataclass(frozen=True)
class Crossing:
    """Where the kernel form outgrows a dense form.

    Attributes:
        width: H of the dense form.
        size: its bytes.
        inputs: the number of inputs seen, t, from which on the kernel form is larger; NaN where it
            is larger from the start.
    """

    width: int
    size: int
    inputs: float


@dataclass(frozen=True)
class Memory(Experiment):
    """What the experiment measured."""

    def dense(
        self, quantity: Quantity, form: str = "adam_star"
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Widths, ascending, and bytes of a dense form.

        Args:
            quantity: what to count.
            form: `adam_star` or `adam`.

        Returns:
            width_W and bytes_W.
        """
        rows = self._rows(quantity, form)
        return rows["size"].to_numpy(), _total(rows, quantity)

    def kernel(self, quantity: Quantity) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Inputs that fit into the buffers, ascending, and bytes of the kernel form.

        It can do without nothing: for `trained` the inputs seen count, too.

        Returns:
            inputs_T, each once, and bytes_T.
        """
        quantity = "state" if quantity == "trained" else quantity
        rows = self._rows(quantity, "kernel").drop_duplicates("inputs")
        return rows["inputs"].to_numpy(), _total(rows, quantity)

    def crossings(self, quantity: Quantity, form: str = "adam_star") -> list[Crossing]:
        """Where the kernel form outgrows each dense width, by a straight line through its sizes.

        Through 0, where there is only one of them.
        """
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

    def temporary(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What a step of the kernel form takes and gives back: inputs_T, ascending, and bytes_T."""
        rows = self._rows("step", "kernel").drop_duplicates("inputs")
        return rows["inputs"].to_numpy(), rows["temporary"].to_numpy()

    def resident(self) -> pd.DataFrame:
        """What XLA counts for a step and what a process took; empty where it cannot tell."""
        return self.measured.tables["resident"]

    def _rows(self, quantity: Quantity, form: str) -> pd.DataFrame:
        table = self.measured.tables["step" if quantity == "step" else "state"]
        return table[table["form"] == form].sort_values("size")


def load(folder: Path | str) -> Memory:
    """Reads and checks a folder of measurements.

    Raises:
        UserError: a file is missing or unreadable, or lacks a column or key.
    """
    return Memory(MeasuredTables.load(folder, TABLES, "memory", "model", "training"))


def _total(rows: pd.DataFrame, quantity: Quantity) -> NDArray[np.int64]:
    return rows[list(_PARTS[quantity])].sum(axis=1).to_numpy()
