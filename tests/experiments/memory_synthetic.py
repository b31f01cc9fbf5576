# SPDX-License-Identifier: Apache-2.0
"""Measurements of `memory` as the experiment writes them, with round numbers."""

from pathlib import Path

import pandas as pd

from infwidth.experiments.memory.measured import TABLES
from tests.experiments.tables import write_measurements


def write(
    folder: Path,
    widths: tuple[int, ...] = (256, 1024, 4096),
    inputs: tuple[int, ...] = (4096, 8192, 65_536),
    resident: bool = True,
) -> Path:
    """Writes the tables and settings; returns the folder.

    The kernel form takes 100 bytes an input and 1,000 to start with, a step 20,000 more; the dense
    form 100 a unit for each of ω, M and m, elementwise Adam 200 for m and v, a step 10 times as
    much.
    """
    state, step = [], []
    for form, moments in (("adam_star", 1), ("adam", 2)):
        for width in widths:
            cell = {"form": form, "size": width, "inputs": 0}
            kept = {"features": 100 * width, "readout": 100 * width}
            state.append(cell | kept | {"optimizer": 100 * moments * width})
            if form == "adam_star":
                step.append(
                    cell | {"arguments": 300 * width, "outputs": 0, "temporary": 2700 * width}
                )
    for seen in inputs:
        cell = {"form": "kernel", "size": seen // 1024, "inputs": seen}
        state.append(cell | {"features": 50 * seen, "readout": 50 * seen, "optimizer": 1000})
        step.append(cell | {"arguments": 100 * seen + 1000, "outputs": 0, "temporary": 20_000})
    rows = [
        {"form": "adam_star", "size": widths[-1], "counted": 10**6, "resident": 1.1e6},
        {"form": "kernel", "size": 64, "counted": 2 * 10**8, "resident": 1.9e8},
    ]
    counted = pd.DataFrame(rows if resident else [], columns=list(TABLES["resident"].columns))
    return write_measurements(
        folder,
        "memory",
        {"state": state, "step": step, "resident": counted},
        memory={"widths": list(widths)},
        model={"layers": 2, "d_model": 64, "context": 64},
        training={"batch_size": 16},
    )
