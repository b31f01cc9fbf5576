# SPDX-License-Identifier: Apache-2.0
"""The planted data learned at exactly infinite width, by the rules that have a kernel form.

Shapes: N examples to train on, of dimension D; E = 1 output.
"""

import math
from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from infwidth import infinite
from infwidth.experiments.feature_selection.settings import Rule
from infwidth.experiments.feature_selection.training import Data, mean_loss
from infwidth.kernels import relu_kernel
from infwidth.models.features import feature_bias

KERNEL_RULES: tuple[Rule, ...] = ("adam_star", "sgd")


def kernel_rule(
    rule: Rule, rate: float, b1: float, b2: float, eps: float, steps: int
) -> infinite.KernelTransformation:
    """The rule of `feature_selection_training.train`, in coefficient space.

    A solver is compiled for; make one and use it for all seeds.
    """

    def falling(taken: jax.Array) -> jax.Array:
        return rate * ((1 + jnp.cos(math.pi / steps * jnp.asarray(taken, jnp.float32))) / 2)

    if rule == "sgd":
        return infinite.sgd(falling)
    return infinite.adam_star(falling, b1, b2, eps)


def infinite_losses(
    data: Data, batch_SxK: jax.Array, solvers: Mapping[Rule, infinite.KernelTransformation]
) -> pd.DataFrame:
    """Trains the exact kernel machine by every rule.

    Args:
      data: of `teacher_data`.
      batch_SxK: numbers of examples.
      solvers: by rule, of `kernel_rule`.

    Returns:
      A row a rule: the test `loss` in variances of the targets.
    """
    x_AxD = data.x_Axd[:, :-1]
    kernel = partial(relu_kernel, bias=feature_bias(x_AxD.shape[1], None))
    readout = infinite.Readout(kernel, x_AxD[data.train], data.outputs)
    targets, y_Mx1 = data.target_A[data.train], np.asarray(data.target_A[data.test], np.float64)
    rows = []
    for rule, solver in solvers.items():
        state, _ = readout.train(solver, mean_loss, targets, batch_SxK)
        f_Mx1 = np.asarray(readout(state.coefficients_NxE, x_AxD[data.test]), np.float64)
        rows.append({"rule": rule, "loss": float(np.square(f_Mx1 - y_Mx1).mean())})
    return pd.DataFrame(rows)
