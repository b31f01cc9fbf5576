# SPDX-License-Identifier: Apache-2.0
"""Networks of one hidden layer, mean-field, with features frozen or not, and what they train on.

All is in float32.

Shapes: A examples of dimension D, d = D + 1; E outputs; S steps of K examples; H width; L logged
steps.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from infwidth.config.feature_selection import Rule
from infwidth.experiments.feature_selection_teacher import Teacher, draw_teacher, extended
from infwidth.models.features import draw_features
from infwidth.models.loss import cross_entropy
from infwidth.optim import scale_by_adam_star, scale_by_width
from infwidth.training.rules import sgd_unit


class Data(NamedTuple):
    """Examples and their targets; a target is a row of numbers (squared error) or a class."""

    x_Axd: jax.Array
    target_A: jax.Array
    """(A, 1) in float32, or (A,) of classes."""
    train: slice
    validation: slice
    test: slice
    outputs: int
    """E."""


class Constants(NamedTuple):
    """What no program is compiled for: arrays, float32."""

    rate: jax.Array
    """Of the readout, at the start; it falls to 0 as a cosine."""
    kappa: jax.Array
    """The features' rate as a multiple of the readout's."""
    b1: jax.Array
    b2: jax.Array
    eps: jax.Array

    @classmethod
    def of(cls, rate: float, kappa: float, b1: float, b2: float, eps: float) -> "Constants":
        """From numbers."""
        return cls(*(jnp.asarray(value, jnp.float32) for value in (rate, kappa, b1, b2, eps)))


class Trained(NamedTuple):
    """A network after each logged step."""

    omega_LxHxd: jax.Array
    """The features, if they train; else those of the start, once: (1, H, d)."""
    m_LxHxE: jax.Array


def teacher_data(
    seed: int, units: int, dimension: int, train: int, held_out: int
) -> tuple[Data, Teacher]:
    """Examples x ~ N(0, I) and a teacher's outputs, with mean 0 and variance 1 over the first.

    Args:
      seed: of teacher and examples.
      units: of the teacher.
      dimension: D.
      train: examples to train on.
      held_out: examples to validate on, and as many to test on.

    Returns:
      Data and teacher.
    """
    rng = np.random.default_rng(seed)
    teacher = draw_teacher(rng, units, dimension)
    x_AxD = rng.normal(size=(train + 2 * held_out, dimension))
    y_A = teacher(x_AxD)
    y_A = (y_A - y_A[:train].mean()) / y_A[:train].std()
    return (
        Data(
            jnp.asarray(extended(x_AxD), jnp.float32),
            jnp.asarray(y_A[:, None], jnp.float32),
            slice(0, train),
            slice(train, train + held_out),
            slice(train + held_out, None),
            1,
        ),
        teacher,
    )


def image_data(
    seed: int, validation: int, test: int, x_AxD: np.ndarray, label_A: np.ndarray
) -> Data:
    """Splits and scales images.

    Every coordinate is centred and all are divided by one number, so that they are 0 in the mean
    and have a mean square of 1 over the examples trained on, as the inputs of an MLP have behind a
    transformer's normalization.

    Args:
      seed: of the split.
      validation: images to validate on.
      test: images to test on.
      x_AxD: inputs, one per row.
      label_A: their classes, from 0.
    """
    N = len(x_AxD) - validation - test
    order_A = np.random.default_rng(seed).permutation(len(x_AxD))
    x_AxD = x_AxD[order_A] - x_AxD[order_A[:N]].mean(axis=0)
    x_AxD = x_AxD / np.sqrt(np.square(x_AxD[:N]).mean())
    return Data(
        jnp.asarray(extended(x_AxD), jnp.float32),
        jnp.asarray(label_A[order_A], jnp.int32),
        slice(0, N),
        slice(N, N + validation),
        slice(N + validation, None),
        int(label_A.max()) + 1,
    )


def draw_batches(seed: int, data: Data, steps: int, size: int) -> jax.Array:
    """batch_SxK, drawn from the examples to train on, with replacement."""
    rng = np.random.default_rng([seed, steps, size])
    return jnp.asarray(rng.integers(data.train.stop, size=(steps, size)), jnp.int32)


def features_of(seed: int, width: int, data: Data) -> jax.Array:
    """omega_Hxd; those of a width are the first ones of every larger width."""
    return draw_features(jax.random.key(seed), width, data.x_Axd.shape[1])


def mean_loss(f_KxE: jax.Array, target_K: jax.Array) -> jax.Array:
    """Cross-entropy where targets are classes, half the squared error where they are numbers."""
    if jnp.issubdtype(target_K.dtype, jnp.integer):
        return jnp.mean(cross_entropy(f_KxE.T, target_K))
    return jnp.mean(jnp.sum(jnp.square(f_KxE - target_K), axis=1)) / 2


@jax.jit
def relu(x_Kxd: jax.Array, omega_Hxd: jax.Array) -> jax.Array:
    """g_KxH = relu(ω·x̃/√d)."""
    return jax.nn.relu(jnp.dot(x_Kxd, omega_Hxd.T) / math.sqrt(omega_Hxd.shape[1]))


@partial(jax.jit, static_argnames=("rule", "outputs", "logged"))
def train(
    rule: Rule,
    x_Axd: jax.Array,
    target_A: jax.Array,
    outputs: int,
    omega_Hxd: jax.Array,
    batch_SxK: jax.Array,
    constants: Constants,
    logged: tuple[int, ...],
) -> Trained:
    """Trains a network of width H from M = 0.

    Args:
      rule: how.
      x_Axd: inputs with the bias coordinate.
      target_A: targets.
      outputs: E.
      omega_Hxd: the features as drawn.
      batch_SxK: numbers of examples; as many rows as steps.
      constants: rates and the constants of the rules.
      logged: steps after which the network is kept, ascending.

    Returns:
      The network after each of them.
    """
    width, steps = omega_Hxd.shape[0], batch_SxK.shape[0]
    unfrozen = rule == "unfrozen"
    # What is frozen is computed once.
    g_AxH = jnp.zeros((0, width)) if unfrozen else relu(x_Axd, omega_Hxd)
    solver = optax.chain(scale_by_width(), _direction(rule, constants))

    def loss(parameters: dict[str, jax.Array], index_K: jax.Array) -> jax.Array:
        g_KxH = relu(x_Axd[index_K], parameters["features"]) if unfrozen else g_AxH[index_K]
        return mean_loss(jnp.dot(g_KxH, parameters["readout"]) / width, target_A[index_K])

    rate = {"readout": constants.rate, "features": constants.kappa * constants.rate}

    def step(number: jax.Array, carry: tuple) -> tuple:
        parameters, state = carry
        gradient = jax.grad(loss)(parameters, batch_SxK[number])
        # Optax's own rules promote integers to floats by themselves.
        with jax.numpy_dtype_promotion("standard"):
            direction, state = solver.update(gradient, state, parameters)
        fall = (1 + jnp.cos(math.pi / steps * number.astype(jnp.float32))) / 2
        moved = {k: p - fall * rate[k] * direction[k] for k, p in parameters.items()}
        return moved, state

    def stretch(carry: tuple, bound_2: jax.Array) -> tuple[tuple, dict]:
        carry = jax.lax.fori_loop(bound_2[0], bound_2[1], step, carry)
        return carry, carry[0]

    parameters = {"readout": jnp.zeros((width, outputs))}
    if unfrozen:
        parameters["features"] = omega_Hxd
    bound_Lx2 = jnp.asarray(np.stack([(0, *logged[:-1]), logged], axis=1))
    _, kept = jax.lax.scan(stretch, (parameters, solver.init(parameters)), bound_Lx2)
    return Trained(kept["features"] if unfrozen else omega_Hxd[None], kept["readout"])


def unit_of_sgd(data: Data, omega_Hxd: jax.Array, batch_SxK: jax.Array) -> float:
    """The rate at which SGD's first step has rms 1 on the first batch of this network."""
    g_KxH, target_K = relu(data.x_Axd[batch_SxK[0]], omega_Hxd), data.target_A[batch_SxK[0]]
    width = omega_Hxd.shape[0]

    def loss(m_HxE: jax.Array) -> jax.Array:
        return mean_loss(jnp.dot(g_KxH, m_HxE) / width, target_K)

    return float(sgd_unit(width * jax.grad(loss)(jnp.zeros((width, data.outputs)))))


def _direction(rule: Rule, constants: Constants) -> Any:
    if rule == "sgd":
        return optax.identity()
    if rule == "adam_star":
        return scale_by_adam_star(constants.b1, constants.b2, constants.eps)
    return optax.scale_by_adam(constants.b1, constants.b2, constants.eps)
