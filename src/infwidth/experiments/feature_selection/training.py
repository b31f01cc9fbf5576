# SPDX-License-Identifier: Apache-2.0
"""Networks of one hidden layer, mean-field, with features frozen or not, and what they train on.

The teacher is computed in float64 by NumPy; training is in float32.

Shapes: A examples of dimension D, d = D + 1; E outputs; S steps of K examples; H width; L logged
steps. Of the teacher alone: K units.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from infwidth.experiments import digits
from infwidth.experiments.feature_selection.settings import FeatureSelectionSettings, Rule
from infwidth.models.features import draw_features, feature_bias
from infwidth.optim import scale_by_adam_star, scale_by_width
from infwidth.stats.selection import Cell
from infwidth.training.rules import sgd_unit


class Teacher(NamedTuple):
    """y(x) = Σ_k s_k relu(v_k·x̃), x̃ = (x, b)."""

    v_Kxd: np.ndarray
    """Unit vectors, independent and uniform."""
    sign_K: np.ndarray
    """+1 and −1 by turns."""

    def __call__(self, x_AxD: np.ndarray) -> np.ndarray:
        """y_A."""
        return np.maximum(extended(x_AxD) @ self.v_Kxd.T, 0) @ self.sign_K


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


class Trained(NamedTuple):
    """A network after each logged step."""

    omega_LxHxd: jax.Array
    """The features, if they train; else those of the start, once: (1, H, d)."""
    m_LxHxE: jax.Array


def draw_teacher(rng: np.random.Generator, units: int, dimension: int) -> Teacher:
    """Draws a teacher of K units for inputs of dimension D."""
    v_Kxd = rng.normal(size=(units, dimension + 1))
    v_Kxd /= np.linalg.norm(v_Kxd, axis=1, keepdims=True)
    return Teacher(v_Kxd, np.where(np.arange(units) % 2 == 0, 1.0, -1.0))


def extended(x_AxD: np.ndarray) -> np.ndarray:
    """x̃ = (x, b), with the b that the feature layer has by default."""
    D = x_AxD.shape[1]
    return np.pad(x_AxD, ((0, 0), (0, 1)), constant_values=feature_bias(D, None))


def relu_features(x_AxD: np.ndarray, omega_Hxd: np.ndarray) -> np.ndarray:
    """g_AxH = relu(ω·x̃/√d)."""
    d = omega_Hxd.shape[1]
    return np.maximum(extended(x_AxD) @ omega_Hxd.T / math.sqrt(d), 0)


def teacher_data(
    seed: int, units: int, dimension: int, train: int, held_out: int
) -> tuple[Data, Teacher]:
    """Examples x ~ N(0, I) and a teacher's outputs, with mean 0 and variance 1 over the first.

    As many as `held_out` to validate on, and as many again to test on.
    """
    rng = np.random.default_rng(seed)
    teacher = draw_teacher(rng, units, dimension)
    x_AxD = rng.normal(size=(train + 2 * held_out, dimension))
    y_A = teacher(x_AxD)
    y_A = (y_A - y_A[:train].mean()) / y_A[:train].std()
    data = Data(
        jnp.asarray(extended(x_AxD), jnp.float32),
        jnp.asarray(y_A[:, None], jnp.float32),
        slice(0, train),
        slice(train, train + held_out),
        slice(train + held_out, None),
        1,
    )
    return data, teacher


def mean_loss(f_KxE: jax.Array, target_K: jax.Array) -> jax.Array:
    """Cross-entropy where targets are classes, half the squared error where they are numbers."""
    if jnp.issubdtype(target_K.dtype, jnp.integer):
        return digits.mean_loss(f_KxE, target_K)
    return jnp.mean(jnp.sum(jnp.square(f_KxE - target_K), axis=1)) / 2


@jax.jit
def relu(x_Kxd: jax.Array, omega_Hxd: jax.Array) -> jax.Array:
    """g_KxH = relu(ω·x̃/√d)."""
    return jax.nn.relu(jnp.dot(x_Kxd, omega_Hxd.T) / math.sqrt(omega_Hxd.shape[1]))


class Task:
    """Data with the batches and the features of a seed; trains networks on them.

    Networks are kept after the `logged` steps, of which the last ends the training; batches are
    drawn from the examples to train on, with replacement.
    """

    def __init__(
        self,
        settings: FeatureSelectionSettings,
        data: Data,
        seed: int,
        logged: Sequence[int],
        batch_size: int,
    ) -> None:
        self.data, self.logged = data, tuple(sorted(logged))
        self._settings, self._seed = settings, seed
        size = (self.logged[-1], batch_size)
        numbers = np.random.default_rng([seed, *size]).integers(data.train.stop, size=size)
        self.batch_SxK = jnp.asarray(numbers, jnp.int32)

    def features(self, width: int) -> jax.Array:
        """omega_Hxd; those of a width are the first ones of every larger width."""
        return draw_features(jax.random.key(self._seed), width, self.data.x_Axd.shape[1])

    def sgd_unit(self, omega_Hxd: jax.Array) -> float:
        """The rate at which SGD's first step has rms 1 on the first batch of this network."""
        index_K, width = self.batch_SxK[0], omega_Hxd.shape[0]
        g_KxH, target_K = relu(self.data.x_Axd[index_K], omega_Hxd), self.data.target_A[index_K]

        def loss(m_HxE: jax.Array) -> jax.Array:
            return mean_loss(jnp.dot(g_KxH, m_HxE) / width, target_K)

        return float(sgd_unit(width * jax.grad(loss)(jnp.zeros((width, self.data.outputs)))))

    def train(self, rule: Rule, cell: Cell, omega_Hxd: jax.Array, unit: float) -> Trained:
        """Trains a network from M = 0, by rates that fall from those of the cell to 0 as a cosine.

        SGD's rate is in units of `unit`.
        """
        rate = cell.learning_rate * (unit if rule == "sgd" else 1.0)
        values = {"rate": rate, "kappa": cell.kappa or 0.0}
        values |= {name: getattr(self._settings, name) for name in ("b1", "b2", "eps")}
        # Arrays, so that no program is compiled for their values.
        constants = {name: jnp.asarray(value, jnp.float32) for name, value in values.items()}
        return _descend(
            rule,
            self.data.x_Axd,
            self.data.target_A,
            self.data.outputs,
            omega_Hxd,
            self.batch_SxK,
            constants,
            self.logged,
        )


@partial(jax.jit, static_argnames=("rule", "outputs", "logged"))
def _descend(
    rule: Rule,
    x_Axd: jax.Array,
    target_A: jax.Array,
    outputs: int,
    omega_Hxd: jax.Array,
    batch_SxK: jax.Array,
    constants: dict[str, jax.Array],
    logged: tuple[int, ...],
) -> Trained:
    width, steps = omega_Hxd.shape[0], batch_SxK.shape[0]
    unfrozen = rule == "unfrozen"
    # What is frozen is computed once.
    g_AxH = jnp.zeros((0, width)) if unfrozen else relu(x_Axd, omega_Hxd)
    moments = (constants["b1"], constants["b2"], constants["eps"])
    direction = {
        "sgd": optax.identity,
        "adam_star": partial(scale_by_adam_star, *moments),
    }.get(rule, partial(optax.scale_by_adam, *moments))
    solver = optax.chain(scale_by_width(), direction())

    def loss(parameters: dict[str, jax.Array], index_K: jax.Array) -> jax.Array:
        g_KxH = relu(x_Axd[index_K], parameters["features"]) if unfrozen else g_AxH[index_K]
        return mean_loss(jnp.dot(g_KxH, parameters["readout"]) / width, target_A[index_K])

    rate = {"readout": constants["rate"], "features": constants["kappa"] * constants["rate"]}

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
