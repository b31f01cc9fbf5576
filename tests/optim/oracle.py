# SPDX-License-Identifier: Apache-2.0
"""The optimizers in plain NumPy and float64.

Written from docs/theory.md and for clarity alone; shares no code with the package.

Shapes: H width, E outputs.
"""

import numpy as np


class Rule:
    """A rule on one array; second moments are kept at full size.

    Its name is `sgd`, `adam` (elementwise), one that is asked for below, or else ADAM*'s.
    """

    def __init__(self, name: str, b1: float, b2: float, eps: float, axis: int = 0):
        self.name, self.b1, self.b2, self.eps, self.axis = name, b1, b2, eps, axis
        self.steps, self.m, self.r, self.c, self.total = 0, 0.0, 0.0, 0.0, 0.0

    def direction(self, g: np.ndarray, seen: np.ndarray | None = None) -> np.ndarray:
        """The step for a gradient, before the learning rate and its sign.

        Args:
            g: gradient.
            seen: what the second moment is the running mean of, if not squares of the gradient.
        """
        if self.name == "sgd":
            return g
        b1, b2, square = self.b1, self.b2, g.astype(np.float64) ** 2
        if seen is None:
            seen = {"adam": square, "global": np.full(g.shape, np.mean(square))}.get(
                self.name, np.mean(square, self.axis, keepdims=True)
            )
        others = tuple(i for i in range(g.ndim) if i != self.axis % g.ndim)
        self.steps += 1
        t = self.steps
        self.m = b1 * self.m + (1 - b1) * g
        self.r = b2 * self.r + (1 - b2) * np.mean(square, others, keepdims=True)
        self.c = b2 * self.c + (1 - b2) * seen
        self.total = self.total + seen
        if self.name == "muon_star":
            m = np.moveaxis(self.m, self.axis, 0)
            step = polar_factor(m.reshape(len(m), -1), self.eps).reshape(m.shape)
            return np.moveaxis(step, 0, self.axis)
        v = self.r * self.c / np.mean(self.r) if self.name == "factored" else self.c
        v_hat = v / (1 - b2**t)
        above, below = {
            "rms_star": (g, v_hat),
            "rmsprop_star": (g, v),
            "adagrad_star": (g, self.total),
            "nadam_star": (b1 * self.m / (1 - b1 ** (t + 1)) + g * (1 - b1) / (1 - b1**t), v_hat),
            "uncorrected": (self.m, v),
        }.get(self.name, (self.m / (1 - b1**t), v_hat))
        return above / (np.sqrt(below) + self.eps)


def polar_factor(m_HxE: np.ndarray, eps: float) -> np.ndarray:
    """√H m with its singular values σ replaced by σ / √(σ² + ε mean σ²)."""
    left_HxR, size_R, right_RxE = np.linalg.svd(m_HxE, full_matrices=False)
    shift = eps * np.sum(size_R**2) / m_HxE.shape[1]
    return np.sqrt(len(m_HxE)) * left_HxR * (size_R / np.sqrt(size_R**2 + shift)) @ right_RxE
