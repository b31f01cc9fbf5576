# SPDX-License-Identifier: Apache-2.0
"""Smoothing of a training curve."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def smooth(steps: ArrayLike, values: ArrayLike, width: float) -> NDArray[np.float64]:
    """Gaussian smoothing without lag and without a bend at the ends (local linear regression).

    At each step a straight line is fitted by weighted least squares and read off there, so that a
    straight curve stays as it is up to its ends.

    Args:
        steps: where the values were taken, ascending, shape (T,); need not be evenly spaced.
        values: shape (T,).
        width: standard deviation of the weights, in steps; at least half the typical spacing is
            used, which leaves values that are that far apart nearly as they are.
    """
    step_T = np.asarray(steps, dtype=np.float64)
    value_T = np.asarray(values, dtype=np.float64)
    if len(step_T) < 3:
        return value_T
    width = max(width, float(np.median(np.diff(step_T))) / 2)
    offset_TxT = (step_T[None, :] - step_T[:, None]) / width
    weight_TxT = np.exp(-0.5 * offset_TxT**2)
    s0_T, s1_T, s2_T = ((weight_TxT * offset_TxT**power).sum(axis=1) for power in range(3))
    line_TxT = weight_TxT * (s2_T[:, None] - s1_T[:, None] * offset_TxT)
    return line_TxT @ value_T / (s0_T * s2_T - s1_T**2)
