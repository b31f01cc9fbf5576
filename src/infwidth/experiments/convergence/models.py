# SPDX-License-Identifier: Apache-2.0
"""Finite models and their limit, trained on the same mini-batches of one small data set.

All is in float32: against float64 the outputs are off by about 1e-6 at the largest width after the
last step, where the smallest distance is 0.09, so that slopes are the same to five digits.

Shapes: A examples, of which the first N are trained on; D their dimension; E classes, which are the
outputs; K examples a batch, S steps; H width; L logged steps.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from infwidth import infinite
from infwidth.experiments.convergence.settings import ConvergenceSettings, Rule
from infwidth.experiments.digits import mean_loss, scaled
from infwidth.kernels import relu_kernel
from infwidth.models.features import FeatureMLP, feature_bias
from infwidth.models.variables import Groups, merge, split
from infwidth.optim import adam_star, scale_by_width

State = TypeVar("State")


class Problem(NamedTuple):
    """What all models share."""

    x_AxD: jax.Array
    label_A: jax.Array
    examples: int
    """N."""
    classes: int
    """E."""
    batch_SxK: jax.Array
    logged_steps: tuple[int, ...]


def make_problem(settings: ConvergenceSettings, x_AxD: np.ndarray, label_A: np.ndarray) -> Problem:
    """Splits and scales the data, and draws the batches."""
    N = len(x_AxD) - settings.test_examples
    rng = np.random.default_rng(settings.data_seed)
    order_A = rng.permutation(len(x_AxD))
    logged = tuple(sorted(settings.logged_steps))
    return Problem(
        jnp.asarray(scaled(x_AxD[order_A], slice(N)), jnp.float32),
        jnp.asarray(label_A[order_A], jnp.int32),
        N,
        int(label_A.max()) + 1,
        jnp.asarray(rng.integers(N, size=(logged[-1], settings.batch_size)), jnp.int32),
        logged,
    )


def infinite_rule(rule: Rule, settings: ConvergenceSettings) -> infinite.KernelTransformation:
    """The rule at infinite width; for elementwise Adam, which has none, ADAM*."""
    if rule == "sgd":
        return infinite.sgd(settings.sgd_learning_rate)
    if rule == "momentum":
        return infinite.sgd(settings.momentum_learning_rate, settings.momentum)
    return infinite.adam_star(settings.adam_learning_rate, settings.b1, settings.b2, settings.eps)


def finite_rule(rule: Rule, settings: ConvergenceSettings) -> optax.GradientTransformation:
    """The rule at finite width, from gradients in M to its steps."""
    adam = (settings.adam_learning_rate, settings.b1, settings.b2, settings.eps)
    rules: dict[str, Callable[[], optax.GradientTransformation]] = {
        "sgd": lambda: optax.sgd(settings.sgd_learning_rate),
        "momentum": lambda: optax.sgd(settings.momentum_learning_rate, settings.momentum),
        "adam_star": lambda: adam_star(*adam),
        "adam": lambda: optax.adam(*adam),
    }
    return optax.chain(scale_by_width(), rules[rule]())


def infinite_outputs(problem: Problem, rule: Rule, settings: ConvergenceSettings) -> np.ndarray:
    """Trains the exact kernel machine: f_LxAxE after each logged step, float32."""
    D, N = problem.x_AxD.shape[1], problem.examples
    kernel = partial(relu_kernel, bias=feature_bias(D, None))
    readout = infinite.Readout(kernel, problem.x_AxD[:N], problem.classes)
    solver, gram_NxN = infinite_rule(rule, settings), readout.gram_NxN
    assert gram_NxN is not None, "a small data set"

    def step(number: jax.Array, state: infinite.ReadoutState) -> infinite.ReadoutState:
        return infinite.train_coefficients(
            solver,
            mean_loss,
            lambda index_K: gram_NxN[index_K],
            problem.label_A[:N],
            problem.batch_SxK[number][None, :],
            state,
        )[0]

    states = _at_logged_steps(problem, step, readout.init(solver))
    c_LxNxE = states.coefficients_NxE
    return np.stack([np.asarray(readout(c_NxE, problem.x_AxD)) for c_NxE in c_LxNxE])


def finite_model(
    problem: Problem, rule: Rule, width: int, settings: ConvergenceSettings
) -> Callable[[int], np.ndarray]:
    """The function that trains a model of a width from a seed; it is compiled once for all seeds.

    The model is the transformer's MLP, `FeatureMLP`, with E outputs: mean-field, its features
    fixed as they are drawn, M = 0 at the start. The features of a width are the first ones of every
    larger width of the same seed. The function returns f_LxAxE after each logged step, float32.
    """
    structure, groups = split(_layer(problem, width, seed=0))
    (readout_name,) = groups.readout
    solver = finite_rule(rule, settings)

    def outputs(features: dict, m_HxF: jax.Array, x_KxD: jax.Array) -> jax.Array:
        return merge(structure, Groups({}, features, {readout_name: m_HxF}))(x_KxD.T).T

    def step(features: dict, number: jax.Array, carry: tuple) -> tuple:
        m_HxE, state = carry
        index_K = problem.batch_SxK[number]

        def loss(m_HxE: jax.Array) -> jax.Array:
            f_KxE = outputs(features, m_HxE, problem.x_AxD[index_K])
            return mean_loss(f_KxE, problem.label_A[index_K])

        # Optax's own rules promote integers to floats by themselves.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = solver.update(jax.grad(loss)(m_HxE), state)
        return optax.apply_updates(m_HxE, updates), state

    @jax.jit
    def train(features: dict) -> jax.Array:
        m_HxE = jnp.zeros((width, problem.classes))
        start = (m_HxE, solver.init(m_HxE))
        m_LxHxE, _ = _at_logged_steps(problem, partial(step, features), start)
        L, H, E = m_LxHxE.shape
        # All readouts side by side are one with L·E outputs, and the features are computed once.
        f_AxLE = outputs(features, m_LxHxE.transpose(1, 0, 2).reshape(H, L * E), problem.x_AxD)
        return f_AxLE.reshape(-1, L, E).transpose(1, 0, 2)

    def of_seed(seed: int) -> np.ndarray:
        return np.asarray(train(split(_layer(problem, width, seed))[1].features))

    return of_seed


def _at_logged_steps(
    problem: Problem, step: Callable[[jax.Array, State], State], start: State
) -> State:
    """Trains, and stacks the states after the logged steps; compiled once for all stretches."""
    bound_Lx2 = np.stack([(0, *problem.logged_steps[:-1]), problem.logged_steps], axis=1)

    def stretch(state: State, bound_2: jax.Array) -> tuple[State, State]:
        state = jax.lax.fori_loop(bound_2[0], bound_2[1], step, state)
        return state, state

    return jax.lax.scan(stretch, start, jnp.asarray(bound_Lx2))[1]


def _layer(problem: Problem, width: int, seed: int) -> Any:
    return FeatureMLP(problem.x_AxD.shape[1], width, rngs=nnx.Rngs(features=seed, readout=0))
