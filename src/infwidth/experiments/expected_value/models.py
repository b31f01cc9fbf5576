# SPDX-License-Identifier: Apache-2.0
"""Finite and infinite models of one small problem, many inits of the finite ones at a time.

All is in float32: outputs are rounded by some 1e-6 of their size, the least bias that is resolved
is some 1e-3.

Shapes: N examples to train on, P to compare at, D their dimension, d = D + 1; E classes, which are
the outputs; S steps of K examples; H width; R inits, F = R H features.
"""

import math
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from infwidth import infinite
from infwidth.config.errors import UserError
from infwidth.experiments.digits import scaled
from infwidth.experiments.expected_value.settings import (
    ExpectedValueSettings,
    TrainedReadoutSettings,
)
from infwidth.kernels import relu_kernel
from infwidth.models.features import draw_features, feature_bias
from infwidth.optim import scale_by_adam_star, scale_by_width


class Case(NamedTuple):
    """A rule and a loss to train by."""

    rule: Literal["sgd", "adam_star"]
    loss: Literal["cross_entropy", "squared"]


class Problem(NamedTuple):
    """What all models share: examples, targets (one-hot), batches, and the constant b."""

    x_NxD: jax.Array
    target_NxE: jax.Array
    x_PxD: jax.Array
    label_P: np.ndarray
    batch_SxK: jax.Array
    bias: float


class Solution(NamedTuple):
    """An infinite model after training: its coefficients, and its outputs at the P examples."""

    c_NxE: jax.Array
    f_PxE: jax.Array


def make_problem(
    settings: ExpectedValueSettings, x_AxD: np.ndarray, label_A: np.ndarray
) -> Problem:
    """Chooses examples of the first classes, scales them, and draws the batches.

    No batch holds an example twice.
    """
    N, P = settings.train_examples, settings.test_examples
    (among,) = np.nonzero(label_A < settings.classes)
    if among.size < N + P:
        raise UserError(
            f"expected_value.train_examples and test_examples ask for {N + P} examples, and the "
            f"first {settings.classes} classes have {among.size}: lower them, or take more classes"
        )
    rng = np.random.default_rng(settings.seed)
    chosen = rng.permutation(among)[: N + P]
    x_AxD, label_A = scaled(x_AxD[chosen], slice(N)), label_A[chosen]
    S, K = settings.trained.steps, settings.trained.batch_size
    return Problem(
        x_NxD=jnp.asarray(x_AxD[:N], jnp.float32),
        target_NxE=jax.nn.one_hot(label_A[:N], settings.classes, dtype=jnp.float32),
        x_PxD=jnp.asarray(x_AxD[N:], jnp.float32),
        label_P=label_A[N:],
        batch_SxK=jnp.asarray(np.stack([rng.permutation(N)[:K] for _ in range(S)])),
        bias=feature_bias(x_AxD.shape[1], None),
    )


def batch_loss(loss: str, f_KxE: jax.Array, target_KxE: jax.Array) -> jax.Array:
    """The mean over a batch of the softmax's cross-entropy, or of half the squared error."""
    if loss == "squared":
        return jnp.mean(jnp.sum(jnp.square(f_KxE - target_KxE), axis=1)) / 2
    return -jnp.mean(jnp.sum(target_KxE * jax.nn.log_softmax(f_KxE, axis=1), axis=1))


def hyperparameters(case: Case, settings: TrainedReadoutSettings) -> dict[str, jax.Array]:
    """The case's learning rate and ADAM*'s constants, as arrays: none is compiled in."""
    rate = getattr(settings, f"{case.rule}_learning_rate")
    values = {"learning_rate": rate, "b1": settings.b1, "b2": settings.b2, "eps": settings.eps}
    return {name: jnp.asarray(value, jnp.float32) for name, value in values.items()}


def solve(problem: Problem, case: Case, settings: TrainedReadoutSettings) -> Solution:
    """Trains the infinite model, in coefficient space."""
    rate, *constants = hyperparameters(case, settings).values()
    solver = infinite.sgd(rate)
    if case.rule == "adam_star":
        solver = infinite.adam_star(rate, *constants)
    kernel = partial(relu_kernel, bias=problem.bias)
    readout = infinite.Readout(kernel, problem.x_NxD, problem.target_NxE.shape[1])
    loss = partial(batch_loss, case.loss)
    state, _ = readout.train(solver, loss, problem.target_NxE, problem.batch_SxK)
    c_NxE = state.coefficients_NxE
    return Solution(c_NxE, readout(c_NxE, problem.x_PxD))


@partial(jax.jit, static_argnames="count")
def features(problem: Problem, key: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Draws F features, of one or more inits, and evaluates them: g_NxF and g_PxF."""
    D = problem.x_NxD.shape[1]
    scaled_Fxd = draw_features(key, count, D + 1) / math.sqrt(D + 1)
    constant_F = scaled_Fxd[:, -1] * problem.bias

    def of(x_AxD: jax.Array) -> jax.Array:
        return jax.nn.relu(jnp.dot(x_AxD, scaled_Fxd[:, :-1].T) + constant_F[None, :])

    return of(problem.x_NxD), of(problem.x_PxD)


@partial(jax.jit, static_argnames="width")
def fixed_outputs(c_NxE: jax.Array, g_NxF: jax.Array, g_PxF: jax.Array, width: int) -> jax.Array:
    """Finite models whose units have the readouts M_ω = Σ_i c_i g_ω(x_i): f_RxPxE.

    Features are those of R = F / H inits, one init's after another's; equation (1) of
    docs/theory.md.
    """
    m_FxE = jnp.dot(g_NxF.T, c_NxE)
    m_RxHxE = m_FxE.reshape(-1, width, m_FxE.shape[1])
    return jnp.matmul(_by_init(g_PxF, width), m_RxHxE) / width


@partial(jax.jit, static_argnames=("case", "width"))
def trained_outputs(
    problem: Problem,
    case: Case,
    constants: dict[str, jax.Array],
    g_NxF: jax.Array,
    g_PxF: jax.Array,
    width: int,
) -> jax.Array:
    """Finite models trained from M = 0, their features fixed: f_RxPxE after the last step.

    Features are those of R = F / H inits, one init's after another's.
    """
    rule = optax.identity()
    if case.rule == "adam_star":
        rule = scale_by_adam_star(constants["b1"], constants["b2"], constants["eps"])
    solver = optax.chain(scale_by_width(), rule)

    def outputs(g_NxH: jax.Array, g_PxH: jax.Array) -> jax.Array:
        def step(carry: tuple, index_K: jax.Array) -> tuple[tuple, None]:
            m_HxE, state = carry
            g_KxH, target_KxE = g_NxH[index_K], problem.target_NxE[index_K]

            def loss(m_HxE: jax.Array) -> jax.Array:
                return batch_loss(case.loss, jnp.dot(g_KxH, m_HxE) / width, target_KxE)

            direction_HxE, state = solver.update(jax.grad(loss)(m_HxE), state)
            return (m_HxE - constants["learning_rate"] * direction_HxE, state), None

        m_HxE = jnp.zeros((width, problem.target_NxE.shape[1]))
        (m_HxE, _), _ = jax.lax.scan(step, (m_HxE, solver.init(m_HxE)), problem.batch_SxK)
        return jnp.dot(g_PxH, m_HxE) / width

    return jax.vmap(outputs)(_by_init(g_NxF, width), _by_init(g_PxF, width))


def _by_init(g_AxF: jax.Array, width: int) -> jax.Array:
    """Cuts the features of R inits apart, (R, A, H)."""
    return jnp.swapaxes(g_AxF.reshape(g_AxF.shape[0], -1, width), 0, 1)
