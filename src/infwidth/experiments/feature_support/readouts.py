# SPDX-License-Identifier: Apache-2.0
"""Readouts over given features: the best one, and the one that ADAM* (reconstructed) trains.

Both see the population by way of a quadrature, so that no error here is one of sampling inputs.

Shapes: N nodes, H features, one output.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import cho_factor, cho_solve

from infwidth import infinite
from infwidth.experiments.feature_support.nodes import Array
from infwidth.experiments.feature_support.settings import SupportTrainingSettings


def best_readout(g_NxH: Array, y_N: Array, weight_N: Array, ridge: float) -> Array:
    """The readout m of least weighted squares, f = g m.

    Args:
      g_NxH: features.
      y_N: targets.
      weight_N: of the nodes.
      ridge: in units of the trace of the Gram matrix.

    Returns:
      m_H.
    """
    root_N = np.sqrt(weight_N)
    g_NxH, y_N = g_NxH * root_N[:, None], y_N * root_N
    narrow = g_NxH.shape[1] < g_NxH.shape[0]
    gram = g_NxH.T @ g_NxH if narrow else g_NxH @ g_NxH.T
    gram[np.diag_indices_from(gram)] += ridge * np.trace(gram)
    factor = cho_factor(gram, overwrite_a=True)
    return cho_solve(factor, g_NxH.T @ y_N) if narrow else g_NxH.T @ cho_solve(factor, y_N)


def adam_star_readout(
    g_NxH: Array, y_N: Array, weight_N: Array, steps: int, training: SupportTrainingSettings
) -> Array:
    """The readout of width H after training by ADAM* from M = 0, f = g m with m = M / H.

    It trains in coefficients on the features' own kernel Θ_H, which is the same, and takes the
    same time, at every width (docs/theory.md, section 6). Each step sees the whole population.

    Args:
      g_NxH: features.
      y_N: targets.
      weight_N: of the nodes.
      steps: how many.
      training: the rule's constants.

    Returns:
      m_H, the features' combination that the coefficients make.
    """
    theta_NxN = jnp.asarray(g_NxH @ g_NxH.T / g_NxH.shape[1], jnp.float32)
    constants = (training.learning_rate, training.b1, training.b2, training.eps)
    y, weight, *rule = (jnp.asarray(value, jnp.float32) for value in (y_N, weight_N, *constants))
    c_N = _train(theta_NxN, y, weight, jnp.asarray(steps, jnp.int32), tuple(rule))
    return g_NxH.T @ np.asarray(c_N, np.float64) / g_NxH.shape[1]


@jax.jit
def _train(
    theta_NxN: jax.Array, y_N: jax.Array, weight_N: jax.Array, steps: jax.Array, rule: tuple
) -> jax.Array:
    """The coefficients after the last step."""
    index_N = jnp.arange(y_N.size)
    rate, *constants = rule
    solver = infinite.adam_star(lambda taken: rate * (1 - taken / steps), *constants)
    product = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)

    def step(_: jax.Array, carry: tuple) -> tuple:
        c_Nx1, state = carry
        delta_Nx1 = weight_N[:, None] * (product(theta_NxN, c_Nx1) - y_N[:, None])
        gradient = infinite.FunctionalGradient(delta_Nx1, index_N, theta_NxN)
        updates, state = solver.update(gradient, state, c_Nx1)
        return infinite.apply_updates(c_Nx1, updates), state

    c_Nx1 = jnp.zeros((y_N.size, 1))
    return jax.lax.fori_loop(0, steps, step, (c_Nx1, solver.init(c_Nx1)))[0][:, 0]
