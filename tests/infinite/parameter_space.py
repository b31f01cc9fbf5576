# SPDX-License-Identifier: Apache-2.0
"""Training a materialized readout M of H features, in NumPy and float64.

Written from docs/theory.md and for clarity alone; shares no code with the package.

Shapes: N examples, K of them in a batch, P inputs looked at, H features, E outputs, S steps.
"""

from dataclasses import dataclass

import numpy as np

from tests.optim import oracle


@dataclass(frozen=True)
class Rule:
    """A rule of the oracle, or `eigenpro`, and all that is around it."""

    name: str
    second_moment: str = "per_output"
    b1: float = 0.0
    b2: float = 0.9
    eps: float = 1e-8
    momentum: float | None = None
    nesterov: bool = False
    rate: float = 0.1
    weight_decay: float = 0.0
    max_norm: float | None = None
    components: int = 0
    """Of `eigenpro`, which knows them from all examples."""


def train(rule, schedule_S, g_NxH, target_NxE, batch_SxK, g_PxH):
    """The values of f after every step, from M = 0, and whether each step was clipped.

    The loss is ½ Σ_k |f(x_k) − y_k|² / K.
    """
    H, E = g_NxH.shape[1], target_NxE.shape[1]
    inner = oracle.Rule(rule.name, rule.b1, rule.b2, rule.eps)
    readout_HxE, trace_HxE = np.zeros((H, E)), np.zeros((H, E))
    f_SxPxE, clipped_S = [], []
    for schedule, batch_K in zip(schedule_S, batch_SxK, strict=True):
        g_KxH = g_NxH[batch_K]
        delta_KxE = (g_KxH @ readout_HxE / H - target_NxE[batch_K]) / len(batch_K)
        gradient_HxE = g_KxH.T @ delta_KxE
        norm = np.sqrt(np.mean(gradient_HxE**2, axis=0).sum())
        clipped_S.append(rule.max_norm is not None and norm > rule.max_norm)
        if clipped_S[-1]:
            delta_KxE = delta_KxE * rule.max_norm / norm
            gradient_HxE = gradient_HxE * rule.max_norm / norm
        if rule.name == "eigenpro":
            step_HxE = preconditioned(gradient_HxE, g_NxH, rule.components, len(batch_K))
        else:
            step_HxE = inner.direction(gradient_HxE, _seen(rule, gradient_HxE, delta_KxE, batch_K))
        step_HxE = step_HxE * rule.rate * schedule
        if rule.momentum is not None:
            # Rates are constant where tests use it, so that its place makes no difference.
            trace_HxE = rule.momentum * trace_HxE + step_HxE
            step_HxE = step_HxE + rule.momentum * trace_HxE if rule.nesterov else trace_HxE
        decay = schedule * rule.rate * rule.weight_decay
        readout_HxE = (1 - decay) * readout_HxE - step_HxE
        f_SxPxE.append(g_PxH @ readout_HxE / H)
    return np.array(f_SxPxE), np.array(clipped_S)


def _seen(rule, gradient_HxE, delta_KxE, batch_K):
    square_E = np.mean(gradient_HxE**2, axis=0)
    if rule.second_moment == "per_output":
        return square_E
    if rule.second_moment == "global":
        return np.full_like(square_E, square_E.mean())
    of_each = {i: delta_KxE[batch_K == i].sum(axis=0) for i in set(batch_K.tolist())}
    return np.sum([error_E**2 for error_E in of_each.values()], axis=0)


def preconditioned(gradient_HxE, g_SxH, components, batch):
    """EigenPro's step, from the second moments of the features over a subsample."""
    S, H = g_SxH.shape
    value_H, direction_HxH = np.linalg.eigh(g_SxH.T @ g_SxH / H)
    value_Q, direction_HxQ = value_H[-components:], direction_HxH[:, -components:]
    next_value = value_H[-components - 1]
    shrink_HxH = np.eye(H) - direction_HxQ * (1 - next_value / value_Q) @ direction_HxQ.T
    diagonal_S = np.sum(g_SxH * (g_SxH @ shrink_HxH), axis=1) / H
    return batch / (diagonal_S.max() + (batch - 1) * next_value / S) * shrink_HxH @ gradient_HxE
