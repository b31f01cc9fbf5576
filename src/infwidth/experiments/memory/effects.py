# SPDX-License-Identifier: Apache-2.0
"""What counted bytes say on the claims: numbers without error.

Legend: T sizes of the kernel form, W widths.
"""

import math

import numpy as np
from numpy.typing import NDArray

from infwidth.experiments.memory.measured import Memory, Quantity
from infwidth.stats.effects import Effect

ACCOUNTS: dict[Quantity, str] = {
    "state": "everything kept",
    "trained": "readout and moments",
    "step": "a training step",
}
"""What is counted of the dense form; the kernel form counts whole in all of them."""

FLOAT_BYTES = 4


def effects(measured: Memory) -> dict[str, list[Effect]]:
    """Growth, crossing, and whether a step holds the whole feature matrix.

    `growth_exponent`: p in bytes ∝ t^p of the kernel form, and in bytes ∝ H^p of the dense ones.
    `crossing_inputs_per_unit`: the inputs seen at which the kernel form outgrows a dense layer of
    the largest width, over that width; by what is counted. `step_over_full_matrix`: a step's
    temporary memory over that of one matrix of kernel values, batch × inputs seen, in float32.
    """
    inputs_T, bytes_T = measured.kernel("state")
    growth = [Effect.exact("kernel form, over t", _exponent(inputs_T, bytes_T))]
    for form, label in (("adam_star", "dense, ADAM*, over H"), ("adam", "dense, Adam, over H")):
        growth.append(Effect.exact(label, _exponent(*measured.dense("state", form))))
    crossings = [
        Effect.exact(label, measured.inputs_per_unit(quantity))
        for quantity, label in ACCOUNTS.items()
    ]
    return {
        "growth_exponent": [effect for effect in growth if not math.isnan(effect.estimate)],
        "crossing_inputs_per_unit": [c for c in crossings if not math.isnan(c.estimate)],
        "step_over_full_matrix": _over_full_matrix(measured),
    }


def _exponent(size_W: NDArray[np.int64], bytes_W: NDArray[np.int64]) -> float:
    """Slope of log bytes on log size; NaN for one size."""
    if len(size_W) < 2:
        return math.nan
    return float(np.polyfit(np.log(size_W), np.log(bytes_W), 1)[0])


def _over_full_matrix(measured: Memory) -> list[Effect]:
    settings = measured.measured.settings
    batch = settings["training"]["batch_size"] * settings["model"]["context"]
    inputs_T, temporary_T = measured.temporary()
    return [
        Effect.exact(f"t = {inputs:,}", temporary / (FLOAT_BYTES * batch * inputs))
        for inputs, temporary in zip(inputs_T.tolist(), temporary_T.tolist(), strict=True)
    ]
