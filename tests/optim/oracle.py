# SPDX-License-Identifier: Apache-2.0
"""Plain NumPy in float64: the optimizers, and training in coefficient space.

Written from docs/theory.md and for clarity alone; shares no code with the package.

Shapes: N inputs, P inputs where the function is looked at (the first N of them are trained on),
E outputs, K inputs a batch, S steps.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np


class Rule:
    """Elementwise Adam, ADAM* or SGD on one array; second moments are kept at full size."""

    def __init__(self, name: str, b1: float, b2: float, eps: float, axis: int = 0):
        self.name, self.b1, self.b2, self.eps, self.axis = name, b1, b2, eps, axis
        self.steps, self.m, self.r, self.c = 0, 0.0, 0.0, 0.0

    def direction(self, g: np.ndarray) -> np.ndarray:
        """The step for a gradient, before the learning rate and its sign."""
        if self.name == "sgd":
            return g
        square = g.astype(np.float64) ** 2
        others = tuple(i for i in range(g.ndim) if i != self.axis % g.ndim)
        rows = np.mean(square, others, keepdims=True)
        columns = {
            "adam": square,
            "per_output": np.mean(square, self.axis, keepdims=True),
            "global": np.full(g.shape, np.mean(square)),
            "factored": np.mean(square, self.axis, keepdims=True),
        }[self.name]
        self.steps += 1
        self.m = self.b1 * self.m + (1 - self.b1) * g
        self.r = self.b2 * self.r + (1 - self.b2) * rows
        self.c = self.b2 * self.c + (1 - self.b2) * columns
        m_hat = self.m / (1 - self.b1**self.steps)
        v = self.r * self.c / np.mean(self.r) if self.name == "factored" else self.c
        return m_hat / (np.sqrt(v / (1 - self.b2**self.steps)) + self.eps)


class StarRule:
    """The other rules that keep the kernel, on one array of shape (H, E)."""

    def __init__(self, name: str, b1: float, b2: float, eps: float):
        self.name, self.b1, self.b2, self.eps = name, b1, b2, eps
        self.steps, self.m, self.v, self.total = 0, 0.0, 0.0, 0.0

    def direction(self, g: np.ndarray) -> np.ndarray:
        """The step for a gradient, before the learning rate and its sign."""
        b1, b2 = self.b1, self.b2
        self.steps += 1
        t, square_E = self.steps, np.mean(g**2, axis=0)
        self.m = b1 * self.m + (1 - b1) * g
        self.v = b2 * self.v + (1 - b2) * square_E
        self.total = self.total + square_E
        if self.name == "muon_star":
            left_HxE, size_E, right_ExE = np.linalg.svd(self.m, full_matrices=False)
            return left_HxE @ np.diag(_raised(size_E, len(g), g.shape[1], self.eps)) @ right_ExE
        v_hat = self.v / (1 - b2**t)
        ahead = b1 * self.m / (1 - b1 ** (t + 1)) + g * (1 - b1) / (1 - b1**t)
        above, v = {
            "rms_star": (g, v_hat),
            "adagrad_star": (g, self.total),
            "nadam_star": (ahead, v_hat),
            "uncorrected": (self.m, self.v),
        }[self.name]
        return above / (np.sqrt(v) + self.eps)


def _raised(size_E: np.ndarray, width: int, outputs: int, eps: float) -> np.ndarray:
    """Muon*'s singular values: σ / √(σ²/H + ε Σσ²/(HE))."""
    shift = eps * np.sum(size_E**2) / outputs
    return np.sqrt(width) * size_E / np.sqrt(size_E**2 + shift)


class Problem(NamedTuple):
    """Regression in a fixed kernel: loss ½ Σ_k |f(x_k) − y_k|² / K on each batch."""

    theta_PxP: np.ndarray
    start_PxE: np.ndarray
    target_NxE: np.ndarray
    batch_SxK: np.ndarray


class Optimizer(NamedTuple):
    """A rule in coefficient space; `second_moment` None is SGD."""

    second_moment: str | None
    rate_S: np.ndarray
    weight_decay: float = 0.0
    clip_norm: float | None = None
    b1: float = 0.9
    b2: float = 0.98
    eps: float = 1e-8


class Moment(NamedTuple):
    """What one step looked like."""

    f_PxE: np.ndarray
    clipped: bool


def batch_errors(
    problem: Problem, optimizer: Optimizer, f_PxE: np.ndarray, batch_K: np.ndarray
) -> tuple[np.ndarray, np.ndarray, bool]:
    """δ of a batch after clipping, E_ω[G²] of each output, and whether the clipping bit."""
    delta_KxE = (f_PxE[batch_K] - problem.target_NxE[batch_K]) / len(batch_K)
    theta_KxK = problem.theta_PxP[np.ix_(batch_K, batch_K)]
    square_E = np.einsum("ke,kl,le->e", delta_KxE, theta_KxK, delta_KxE)
    norm = np.sqrt(square_E.sum())
    bound = np.inf if optimizer.clip_norm is None else optimizer.clip_norm
    shrink = min(1.0, bound / norm)
    return shrink * delta_KxE, shrink**2 * square_E, bool(norm > bound)


def _step_sizes(optimizer: Optimizer, square_E: np.ndarray, v_E: np.ndarray, step: int):
    """The new v and 1 / ((1 − β1^t)(√v̂ + ε))."""
    seen = np.full_like(square_E, square_E.mean())
    if optimizer.second_moment == "per_output":
        seen = square_E
    v_E = optimizer.b2 * v_E + (1 - optimizer.b2) * seen
    root_E = np.sqrt(v_E / (1 - optimizer.b2**step)) + optimizer.eps
    return v_E, 1 / ((1 - optimizer.b1**step) * root_E)


def train_coefficients(problem: Problem, optimizer: Optimizer) -> Iterator[Moment]:
    """Coefficients c and momentum a by input: the values of f after every step."""
    inputs, outputs = problem.target_NxE.shape
    theta_PxN = problem.theta_PxP[:, :inputs]
    c_NxE, a_NxE = np.zeros((inputs, outputs)), np.zeros((inputs, outputs))
    v_E, kept, f_PxE = np.zeros(outputs), 1.0, problem.start_PxE
    for step, (batch_K, rate) in enumerate(
        zip(problem.batch_SxK, optimizer.rate_S, strict=True), start=1
    ):
        delta_KxE, square_E, clipped = batch_errors(problem, optimizer, f_PxE, batch_K)
        seen_NxE = np.zeros((inputs, outputs))
        np.add.at(seen_NxE, batch_K, delta_KxE)
        decay = 1 - rate * optimizer.weight_decay
        if optimizer.second_moment is None:
            move_NxE = seen_NxE
        else:
            a_NxE = optimizer.b1 * a_NxE + (1 - optimizer.b1) * seen_NxE
            v_E, size_E = _step_sizes(optimizer, square_E, v_E, step)
            move_NxE = a_NxE * size_E
        c_NxE = decay * c_NxE - rate * move_NxE
        kept *= decay
        f_PxE = kept * problem.start_PxE + theta_PxN @ c_NxE
        yield Moment(f_PxE, clipped)


def train_star_coefficients(
    problem: Problem, name: str, rate_S: np.ndarray, b1: float, b2: float, eps: float
) -> Iterator[np.ndarray]:
    """The rules of `StarRule` in coefficients: the values of f after every step."""
    inputs, outputs = problem.target_NxE.shape
    theta_PxN = problem.theta_PxP[:, :inputs]
    theta_NxN = theta_PxN[:inputs]
    c_NxE, a_NxE = np.zeros((inputs, outputs)), np.zeros((inputs, outputs))
    v_E, total_E, f_PxE = np.zeros(outputs), np.zeros(outputs), problem.start_PxE
    for t, (batch_K, rate) in enumerate(zip(problem.batch_SxK, rate_S, strict=True), start=1):
        delta_KxE = (f_PxE[batch_K] - problem.target_NxE[batch_K]) / len(batch_K)
        new_NxE = np.zeros((inputs, outputs))
        np.add.at(new_NxE, batch_K, delta_KxE)
        square_E = np.diag(new_NxE.T @ theta_NxN @ new_NxE)
        a_NxE = b1 * a_NxE + (1 - b1) * new_NxE
        v_E = b2 * v_E + (1 - b2) * square_E
        total_E = total_E + square_E
        if name == "muon_star":
            s_ExE = a_NxE.T @ theta_NxN @ a_NxE
            shift_ExE = eps * np.trace(s_ExE) / outputs * np.eye(outputs)
            size_E, vector_ExE = np.linalg.eigh(s_ExE + shift_ExE)
            move_NxE = a_NxE @ (vector_ExE / np.sqrt(size_E)) @ vector_ExE.T
        else:
            v_hat_E = v_E / (1 - b2**t)
            ahead_NxE = b1 * a_NxE / (1 - b1 ** (t + 1)) + new_NxE * (1 - b1) / (1 - b1**t)
            above_NxE, v = {
                "rms_star": (new_NxE, v_hat_E),
                "adagrad_star": (new_NxE, total_E),
                "nadam_star": (ahead_NxE, v_hat_E),
                "uncorrected": (a_NxE, v_E),
            }[name]
            move_NxE = above_NxE / (np.sqrt(v) + eps)
        c_NxE = c_NxE - rate * move_NxE
        f_PxE = problem.start_PxE + theta_PxN @ c_NxE
        yield f_PxE


def train_stream(problem: Problem, optimizer: Optimizer) -> Iterator[Moment]:
    """ADAM* on inputs that never return: one vector q a batch, and no momentum."""
    inputs, outputs = problem.target_NxE.shape
    theta_PxN = problem.theta_PxP[:, :inputs]
    delta_NxE, batch_of_N = np.zeros((inputs, outputs)), np.zeros(inputs, int)
    q_SxE = np.zeros((len(problem.batch_SxK), outputs))
    v_E, kept, f_PxE = np.zeros(outputs), 1.0, problem.start_PxE
    for step, (batch_K, rate) in enumerate(
        zip(problem.batch_SxK, optimizer.rate_S, strict=True), start=1
    ):
        delta_KxE, square_E, clipped = batch_errors(problem, optimizer, f_PxE, batch_K)
        delta_NxE[batch_K], batch_of_N[batch_K] = delta_KxE, step - 1
        v_E, size_E = _step_sizes(optimizer, square_E, v_E, step)
        decay = 1 - rate * optimizer.weight_decay
        for seen in range(step):
            weight = (1 - optimizer.b1) * optimizer.b1 ** (step - 1 - seen)
            q_SxE[seen] = decay * q_SxE[seen] + weight * rate * size_E
        kept *= decay
        c_NxE = -delta_NxE * q_SxE[batch_of_N]
        f_PxE = kept * problem.start_PxE + theta_PxN @ c_NxE
        yield Moment(f_PxE, clipped)
