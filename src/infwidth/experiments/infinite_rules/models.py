# SPDX-License-Identifier: Apache-2.0
"""One small data set, and every rule on it: at infinite width, or on features frozen as drawn.

All is in float32.

Shapes: A images, of which the first P are tested on; D their dimension, d = D + 1; E classes, which
are the outputs; N images to train on, V to validate on; K a batch, S steps; H features; R pairs of
a batch and a class.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from infwidth import infinite, kernels
from infwidth.config.section import MeasuredScalesSettings
from infwidth.experiments.digits import as_training, mean_loss, relu_features, scaled
from infwidth.experiments.infinite_rules.settings import (
    FINITE_RULES,
    InfiniteRulesSettings,
    Kernel,
    Rule,
)
from infwidth.models.features import BIAS_SHIFT, draw_features, feature_bias, feature_scale
from infwidth.optim import on_measured_scales, scale_by_adam_star, scale_by_width
from infwidth.training import rules

_ROWS = 256
"""Rows of a kernel that are computed at a time."""

_NODES = 4096
"""Features over which the kernel of measured scales is averaged at a time."""

_SCALES = MeasuredScalesSettings()

Outputs = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""(what the kernel or the features are at all images, batch_SxK, rate) -> f_AxE."""


class Problem(NamedTuple):
    """What all models share; `classes` is E, `test` is P."""

    x_AxD: jax.Array
    label_A: jax.Array
    classes: int
    test: int


class Draw(NamedTuple):
    """What a seed decides: images to train on, images to validate on, batches."""

    train_N: np.ndarray
    validation_V: np.ndarray
    batch_SxK: jax.Array


def make_problem(
    settings: InfiniteRulesSettings, x_AxD: np.ndarray, label_A: np.ndarray
) -> Problem:
    """Puts the test's images first, and scales all by those that are not tested on."""
    order_A = np.random.default_rng(settings.data_seed).permutation(len(x_AxD))
    P = settings.test_examples
    return Problem(
        jnp.asarray(scaled(x_AxD[order_A], slice(P, None)), jnp.float32),
        jnp.asarray(label_A[order_A], jnp.int32),
        int(label_A.max()) + 1,
        P,
    )


def draw(problem: Problem, settings: InfiniteRulesSettings, seed: int) -> Draw:
    """Splits the images that are not tested on, and draws the batches."""
    rng = np.random.default_rng([settings.data_seed, seed])
    P, V = problem.test, settings.validation_examples
    order = P + rng.permutation(len(problem.label_A) - P)
    validation_V, train_N = order[:V], order[V:]
    place_SxK = rng.integers(len(train_N), size=(settings.steps, settings.batch_size))
    return Draw(train_N, validation_V, jnp.asarray(train_N[place_SxK], jnp.int32))


def kernel_matrix(problem: Problem, kernel: Kernel) -> jax.Array:
    """theta_AxA, the kernel of all images with all, of features whose kernel has a closed form."""
    of_rows: dict[str, Callable[..., jax.Array]] = {
        "plain": kernels.relu_kernel,
        "normalized": kernels.normalized_relu_kernel,
        "shifted": partial(kernels.shifted_relu_kernel, shift=BIAS_SHIFT),
    }
    x_AxD = problem.x_AxD
    bias = feature_bias(x_AxD.shape[1], None)
    rows = [x_AxD[first : first + _ROWS] for first in range(0, len(x_AxD), _ROWS)]
    return jnp.concatenate([of_rows[kernel](row_RxD, x_AxD, bias=bias) for row_RxD in rows])


def start_errors(problem: Problem, batch_SxK: jax.Array) -> jax.Array:
    """delta_RxA, the errors at f = 0 of each class in each of the first batches, of all images."""

    def of_batch(index_K: jax.Array) -> jax.Array:
        start_KxE = jnp.zeros((len(index_K), problem.classes))
        delta_KxE = jax.grad(mean_loss)(start_KxE, problem.label_A[index_K])
        zeros_AxE = jnp.zeros((len(problem.label_A), problem.classes))
        return zeros_AxE.at[index_K].add(delta_KxE).T

    return jnp.concatenate([of_batch(index_K) for index_K in batch_SxK[: _SCALES.batches]])


def gradient_squares(delta_RxA: jax.Array, g_AxH: jax.Array) -> jax.Array:
    """r_H, the mean square of each feature's gradient over the batches and classes."""
    return jnp.mean(jnp.square(jnp.dot(delta_RxA, g_AxH)), axis=0)


def _divisor(r_H: jax.Array) -> jax.Array:
    """s^p for each feature, by which the features are divided."""
    return jnp.maximum(r_H / jnp.mean(r_H), _SCALES.floor) ** _SCALES.power


def measured_kernel(problem: Problem, delta_RxA: jax.Array, nodes: int, seed: int) -> jax.Array:
    """theta_AxA on scales measured from errors: the mean over features that a seed draws.

    Equation (32) of docs/theory.md. Above 4,096 their number is rounded up to a multiple of that.
    """
    count = -(-nodes // _NODES)
    keys = jax.random.split(jax.random.key(seed), count)
    return _mean_over_nodes(problem.x_AxD, delta_RxA, keys, min(nodes, _NODES))


@partial(jax.jit, static_argnums=3)
def _mean_over_nodes(
    x_AxD: jax.Array, delta_RxA: jax.Array, keys_B: jax.Array, size: int
) -> jax.Array:
    def drawn(key: jax.Array) -> jax.Array:
        return relu_features(x_AxD, draw_features(key, size, x_AxD.shape[1] + 1))

    def add(theta_AxA: jax.Array, given: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        key, divisor_H = given
        g_AxH = drawn(key) / divisor_H[None]
        return theta_AxA + jnp.dot(g_AxH, g_AxH.T) / size, None

    # Twice over the features, since the scales are relative to the mean of all.
    r_BxH = jax.lax.map(lambda key: gradient_squares(delta_RxA, drawn(key)), keys_B)
    divisor_BxH = _divisor(r_BxH.ravel()).reshape(r_BxH.shape)
    zeros_AxA = jnp.zeros((len(x_AxD), len(x_AxD)))
    return jax.lax.scan(add, zeros_AxA, (keys_B, divisor_BxH))[0] / len(keys_B)


def features(
    problem: Problem, kernel: Kernel, width: int, seed: int, batch_SxK: jax.Array
) -> jax.Array:
    """g_AxH, the features of that kernel at all images; scales are measured on the batches."""
    D = problem.x_AxD.shape[1]
    omega_Hxd = draw_features(jax.random.key(seed), width, D + 1)
    if kernel == "shifted":
        omega_Hxd = omega_Hxd.at[:, -1].add(BIAS_SHIFT)
    if kernel == "normalized":
        # A ReLU is positively homogeneous.
        s_H = feature_scale(omega_Hxd[:, -1], D, feature_bias(D, None))
        omega_Hxd = omega_Hxd / jnp.asarray(s_H, jnp.float32)[:, None]
    g_AxH = relu_features(problem.x_AxD, omega_Hxd)
    if kernel == "measured":
        r_H = gradient_squares(start_errors(problem, batch_SxK), g_AxH)
        g_AxH = g_AxH / _divisor(r_H)[None]
    return g_AxH


def trainer(problem: Problem, rule: Rule, settings: InfiniteRulesSettings) -> Outputs:
    """What trains by a rule, given a kernel's matrix, or at finite width the features.

    It is compiled once for all kernels, seeds and rates.
    """
    train = _finite if rule in FINITE_RULES else _infinite
    return jax.jit(partial(train, problem, rule, settings))


def _infinite(
    problem: Problem,
    rule: Rule,
    settings: InfiniteRulesSettings,
    theta_AxA: jax.Array,
    batch_SxK: jax.Array,
    rate: jax.Array,
) -> jax.Array:
    if rule in ("sgd", "sgd_decay", "momentum"):
        rate = rate * sgd_unit(problem, theta_AxA, batch_SxK[0])
    solver = kernel_solver(rule, rate, settings)
    c_AxE = jnp.zeros((theta_AxA.shape[0], problem.classes))
    state, _ = infinite.train_coefficients(
        solver,
        mean_loss,
        lambda index_K: theta_AxA[index_K],
        problem.label_A,
        batch_SxK,
        infinite.ReadoutState(c_AxE, solver.init(c_AxE)),
    )
    return jnp.dot(theta_AxA, state.coefficients_NxE, precision=jax.lax.Precision.HIGHEST)


def kernel_solver(
    rule: Rule, rate: jax.typing.ArrayLike, settings: InfiniteRulesSettings
) -> infinite.KernelTransformation:
    """The rule at infinite width, for a rate in its own units."""
    b1, b2, eps = settings.b1, settings.b2, settings.eps
    schedule = rules.schedule(as_training(settings))

    def scheduled(count: jax.Array) -> jax.typing.ArrayLike:
        return rate * schedule(count)

    def decayed(solver: infinite.KernelTransformation) -> infinite.KernelTransformation:
        """With weight decay that the rate has no part in: rates of two rules differ in unit."""
        share = infinite.add_decayed_weights(
            lambda count: -(settings.weight_decay * schedule(count))
        )
        return infinite.chain(solver, share)

    adam = partial(infinite.adam_star, scheduled, b1, b2, eps)
    solvers: dict[str, Callable[[], infinite.KernelTransformation]] = {
        "sgd": lambda: infinite.sgd(scheduled),
        "sgd_decay": lambda: decayed(infinite.sgd(scheduled)),
        "momentum": lambda: infinite.sgd(scheduled, settings.momentum),
        "rmsprop_star": lambda: infinite.rmsprop_star(scheduled, b2, eps, bias_correction=True),
        "adam_star": adam,
        "adam_star_global": partial(adam, second_moment="global"),
        "adam_star_error": partial(adam, second_moment="error"),
        "adam_star_uncorrected": partial(adam, bias_correction=False),
        "adam_star_decay": lambda: decayed(adam()),
        "nadam_star": partial(adam, nesterov=True),
        "adagrad_star": lambda: infinite.adagrad_star(scheduled, eps=eps),
        "muon_star": lambda: infinite.muon_star(scheduled, b1, settings.muon_eps),
    }
    return solvers[rule]()


def sgd_unit(problem: Problem, theta_AxA: jax.Array, index_K: jax.Array) -> jax.Array:
    """The rate at which SGD's first step has rms 1, docs/theory.md, section 11."""
    label_K = problem.label_A[index_K]
    delta_KxE = jax.grad(mean_loss)(jnp.zeros((len(index_K), problem.classes)), label_K)
    theta_KxK = theta_AxA[index_K][:, index_K]
    gradient = infinite.FunctionalGradient(delta_KxE, index_K, theta_KxK)
    return 1 / jnp.sqrt(jnp.mean(gradient.mean_square()))


def _finite(
    problem: Problem,
    rule: Rule,
    settings: InfiniteRulesSettings,
    g_AxH: jax.Array,
    batch_SxK: jax.Array,
    rate: jax.Array,
) -> jax.Array:
    moments = (settings.b1, settings.b2, settings.eps)
    original: optax.GradientTransformation = optax.scale_by_adam(*moments)
    if rule == "adam_star_factored":
        original = scale_by_adam_star(*moments, second_moment="factored")
    return _trained(problem, settings, original, g_AxH, batch_SxK, rate)


def finite_on_measured_scales(
    problem: Problem,
    rule: Literal["sgd", "adam_star"],
    settings: InfiniteRulesSettings,
    g_AxH: jax.Array,
    batch_SxK: jax.Array,
    rate: jax.Array,
) -> jax.Array:
    """f_AxE of a readout of plain features, trained with the optimizer that users have.

    The rate is in parameters' units; scales are measured on the first batches.
    """
    inner = optax.identity()
    if rule == "adam_star":
        inner = scale_by_adam_star(settings.b1, settings.b2, settings.eps)
    on_scales = on_measured_scales(inner, hold_after=0, power=_SCALES.power, floor=_SCALES.floor)
    measured = {"mean_square": gradient_squares(start_errors(problem, batch_SxK), g_AxH)}
    return _trained(problem, settings, on_scales, g_AxH, batch_SxK, rate, measured)


def _trained(
    problem: Problem,
    settings: InfiniteRulesSettings,
    original: optax.GradientTransformation,
    g_AxH: jax.Array,
    batch_SxK: jax.Array,
    rate: jax.Array,
    measured: Mapping[str, jax.Array] = MappingProxyType({}),
) -> jax.Array:
    """f_AxE of a readout trained from 0 by a rule in whose state there is what was measured."""
    H = g_AxH.shape[1]
    solver = optax.chain(scale_by_width(), original)
    schedule = rules.schedule(as_training(settings))

    def step(carry: tuple, index_K: jax.Array) -> tuple[tuple, None]:
        m_HxE, state, count = carry
        g_KxH, label_K = g_AxH[index_K], problem.label_A[index_K]

        def loss(m_HxE: jax.Array) -> jax.Array:
            return mean_loss(jnp.dot(g_KxH, m_HxE) / H, label_K)

        # Optax's own rules promote integers to floats by themselves.
        with jax.numpy_dtype_promotion("standard"):
            direction_HxE, state = solver.update(jax.grad(loss)(m_HxE), state)
        m_HxE = m_HxE - rate * schedule(count) * direction_HxE
        return (m_HxE, state, count + 1), None

    m_HxE = jnp.zeros((H, problem.classes))
    start = (m_HxE, optax.tree.set(solver.init(m_HxE), **measured), jnp.zeros([], jnp.int32))
    (m_HxE, _, _), _ = jax.lax.scan(step, start, batch_SxK)
    return jnp.dot(g_AxH, m_HxE) / H
