# SPDX-License-Identifier: Apache-2.0
"""Every rule on a materialized readout M of H features, in NumPy and float64.

Written from docs/theory.md and for clarity alone; shares no code with the package.

Shapes: N examples, K of them in a batch, P inputs looked at, H features, E outputs, S steps.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rule:
    """A rule by what it is made of; `second_moment` None has none."""

    second_moment: str | None = None
    kind: str = "adam"
    """`adam`, `nadam`, `adagrad`, `muon` or `eigenpro`; the last three have no use for b2."""
    momentum: float | None = None
    nesterov: bool = False
    b1: float = 0.0
    b2: float = 0.9
    eps: float = 1e-8
    corrected: bool = True
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
    readout_HxE, m_HxE, trace_HxE = (np.zeros((H, E)) for _ in range(3))
    v_E = np.zeros(E)
    f_SxPxE, clipped_S = [], []
    for step, (schedule, batch_K) in enumerate(zip(schedule_S, batch_SxK, strict=True), start=1):
        g_KxH = g_NxH[batch_K]
        delta_KxE = (g_KxH @ readout_HxE / H - target_NxE[batch_K]) / len(batch_K)
        gradient_HxE = g_KxH.T @ delta_KxE
        norm = np.sqrt(np.mean(gradient_HxE**2, axis=0).sum())
        clipped_S.append(rule.max_norm is not None and norm > rule.max_norm)
        if clipped_S[-1]:
            delta_KxE = delta_KxE * rule.max_norm / norm
            gradient_HxE = gradient_HxE * rule.max_norm / norm
        step_HxE = gradient_HxE
        m_HxE = rule.b1 * m_HxE + (1 - rule.b1) * gradient_HxE
        if rule.kind == "muon":
            step_HxE = _polar_factor(m_HxE, rule.eps)
        elif rule.kind == "eigenpro":
            step_HxE = preconditioned(gradient_HxE, g_NxH, rule.components, len(batch_K))
        elif rule.kind == "adagrad":
            v_E = v_E + _seen(rule, gradient_HxE, delta_KxE, batch_K)
            step_HxE = gradient_HxE / (np.sqrt(v_E) + rule.eps)
        elif rule.second_moment is not None:
            v_E = rule.b2 * v_E + (1 - rule.b2) * _seen(rule, gradient_HxE, delta_KxE, batch_K)
            b1, b2 = (rule.b1**step, rule.b2**step) if rule.corrected else (0, 0)
            above_HxE = m_HxE / (1 - b1)
            if rule.kind == "nadam":
                above_HxE = rule.b1 * m_HxE / (1 - rule.b1 * b1)
                above_HxE = above_HxE + (1 - rule.b1) * gradient_HxE / (1 - b1)
            step_HxE = above_HxE / (np.sqrt(v_E / (1 - b2)) + rule.eps)
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


def _polar_factor(m_HxE, eps):
    """Singular values σ of m/√H become σ / √(σ² + ε mean σ²)."""
    H, E = m_HxE.shape
    left_HxR, size_R, right_RxE = np.linalg.svd(m_HxE / np.sqrt(H), full_matrices=False)
    shrunk_R = size_R / np.sqrt(size_R**2 + eps * np.sum(size_R**2) / E)
    return np.sqrt(H) * left_HxR * shrunk_R @ right_RxE


def preconditioned(gradient_HxE, g_SxH, components, batch):
    """EigenPro's step, from the second moments of the features over a subsample."""
    S, H = g_SxH.shape
    value_H, direction_HxH = np.linalg.eigh(g_SxH.T @ g_SxH / H)
    value_Q, direction_HxQ = value_H[-components:], direction_HxH[:, -components:]
    next_value = value_H[-components - 1]
    shrink_HxH = np.eye(H) - direction_HxQ * (1 - next_value / value_Q) @ direction_HxQ.T
    diagonal_S = np.sum(g_SxH * (g_SxH @ shrink_HxH), axis=1) / H
    return batch / (diagonal_S.max() + (batch - 1) * next_value / S) * shrink_HxH @ gradient_HxE
