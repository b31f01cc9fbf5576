# SPDX-License-Identifier: Apache-2.0
"""Networks on data of a teacher whose directions are planted, and narrow ones made again.

Where does the readout's mass go? And how near does the best readout of frozen features come to a
narrow network that learned its own? The products of two ReLU features have a closed form under
inputs x ~ N(0, I) (docs/theory.md, equation (18)), so that this readout and its error come without
sampling inputs: the error is what infinitely many examples leave. That part is float64 NumPy.

Shapes: K planted directions; H features, d = D + 1; E = 1 output; L logged steps; A examples, N of
them to train on; N units of the network that is made again.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy import linalg
from scipy.special import ndtr, owens_t

from infwidth import infinite
from infwidth.experiments.feature_selection.settings import FeatureSelectionSettings, Rule
from infwidth.experiments.feature_selection.training import (
    Data,
    Task,
    Teacher,
    Trained,
    mean_loss,
    relu,
    teacher_data,
)
from infwidth.kernels import relu_kernel
from infwidth.models.features import draw_features, feature_bias, relu_second_moment
from infwidth.stats.selection import Cell

KERNEL_RULES: tuple[Rule, ...] = ("adam_star", "sgd")
"""Those that have an infinitely wide form."""

DIVERGED = 10.0
"""A loss above this, at the end, is that of a training that diverged; outputs of 0 have 1."""

RIDGE = 1e-12
"""Of the mean square of the features: far below every error that is reported."""


class Mass(NamedTuple):
    """The share of Σ_h M_h² E_x[g_h²] that lies on aligned features.

    `at_random` is that of a readout which is independent of the features.
    """

    aligned: float
    at_random: float


class Fit(NamedTuple):
    """The best readout of width H: rms error relative to the network's outputs, (1/H) Σ M_h²."""

    width: int
    error: float
    price: float


def task_of(settings: FeatureSelectionSettings, dimension: int, seed: int) -> tuple[Task, Teacher]:
    """What the networks of a seed learn from its own teacher."""
    own = settings.planted
    data, teacher = teacher_data(
        seed, own.units, dimension, own.train_examples, own.held_out_examples
    )
    return Task(settings, data, seed, own.logged_steps, own.batch_size), teacher


def sgd_unit_of(settings: FeatureSelectionSettings) -> float:
    """SGD's rate is in units of this: of the first tuning seed's first batch, for all seeds.

    One unit for all, since the largest rate at which SGD is stable hardly depends on the teacher,
    where the size of the first gradient does.
    """
    task, _ = task_of(settings, settings.planted.dimension, settings.tuning.seeds[0])
    return task.sgd_unit(task.features(settings.planted.reference_width))


def validation_loss(
    settings: FeatureSelectionSettings, unit: float, rule: Rule, cell: Cell, seed: int
) -> float:
    """The logarithm of a tuning run's loss at the end: losses differ by orders of magnitude."""
    task, _ = task_of(settings, settings.planted.dimension, seed)
    features = task.features(settings.planted.reference_width)
    network = task.train(rule, cell, features, unit)
    loss = float(_losses(network, task.data, task.data.validation)[-1])
    return math.log(loss) if loss <= DIVERGED else math.inf


def measure_mass(
    settings: FeatureSelectionSettings, unit: float, rule: Rule, cell: Cell, width: int, seed: int
) -> pd.DataFrame:
    """Trains a network and looks where its readout is: a row a logged step.

    Columns are those of `Mass` and the test `loss` in variances of the targets; what diverged is
    NaN.
    """
    task, teacher = task_of(settings, settings.planted.dimension, seed)
    start_Hxd = task.features(width)
    network = task.train(rule, cell, start_Hxd, unit)
    cos_H = alignment(np.asarray(start_Hxd, np.float64), teacher.v_Kxd)
    bound = float(np.quantile(cos_H, 1 - settings.planted.aligned_share))
    masses = [
        mass_on_aligned(omega_Hxd, m_HxE, teacher.v_Kxd, bound)
        for omega_Hxd, m_HxE in _float64(network)
    ]
    table = pd.DataFrame(masses).assign(loss=_losses(network, task.data, task.data.test))
    if not table["loss"].iloc[-1] <= DIVERGED:
        table[:] = math.nan
    return table.assign(rule=rule, width=width, seed=seed, step=task.logged)


def infinite_solvers(
    settings: FeatureSelectionSettings, cells: Mapping[Rule, Cell], unit: float
) -> dict[Rule, infinite.KernelTransformation]:
    """By rule, the solver at infinite width, at the rate that was tuned at finite width.

    A solver is compiled for; make one and use it for all seeds.
    """
    units: dict[Rule, float] = {"adam_star": 1.0, "sgd": unit}
    return {
        rule: kernel_rule(rule, cells[rule].learning_rate * units[rule], settings)
        for rule in KERNEL_RULES
    }


def kernel_rule(
    rule: Rule, rate: float, settings: FeatureSelectionSettings
) -> infinite.KernelTransformation:
    """The rule by which `Task.train` moves the readout, in coefficient space."""
    steps = max(settings.planted.logged_steps)

    def falling(taken: jax.Array) -> jax.Array:
        return rate * ((1 + jnp.cos(math.pi / steps * jnp.asarray(taken, jnp.float32))) / 2)

    if rule == "sgd":
        return infinite.sgd(falling)
    return infinite.adam_star(falling, settings.b1, settings.b2, settings.eps)


def measure_infinite(
    settings: FeatureSelectionSettings,
    solvers: Mapping[Rule, infinite.KernelTransformation],
    seed: int,
) -> pd.DataFrame:
    """Infinitely wide networks, the exact kernel machine, on the batches of the finite ones.

    A row a rule: the test `loss` in variances of the targets; what diverged is NaN.
    """
    task, _ = task_of(settings, settings.planted.dimension, seed)
    data, x_AxD = task.data, task.data.x_Axd[:, :-1]
    kernel = partial(relu_kernel, bias=feature_bias(x_AxD.shape[1], None))
    readout = infinite.Readout(kernel, x_AxD[data.train], data.outputs)
    targets, y_Mx1 = data.target_A[data.train], np.asarray(data.target_A[data.test], np.float64)
    rows = []
    for rule, solver in solvers.items():
        state, _ = readout.train(solver, mean_loss, targets, task.batch_SxK)
        f_Mx1 = np.asarray(readout(state.coefficients_NxE, x_AxD[data.test]), np.float64)
        loss = float(np.square(f_Mx1 - y_Mx1).mean())
        rows.append({"rule": rule, "loss": loss if loss <= DIVERGED else math.nan, "seed": seed})
    return pd.DataFrame(rows)


def reproduce_narrow(
    settings: FeatureSelectionSettings, cell: Cell, dimension: int, seed: int
) -> pd.DataFrame:
    """Trains a narrow network, features and all, and fits frozen features to it: a row a width.

    Beside the fits' `error` and `price` stand, the same in each row, the narrow network's
    `narrow_loss` on test examples and its own `narrow_price` (1/N) Σ M².
    """
    own = settings.least_squares
    task, _ = task_of(settings, dimension, seed)
    network = task.train("unfrozen", cell, task.features(own.units), 1.0)
    *_, (omega_Nxd, m_NxE) = _float64(network)
    # Others than those that the narrow network started from.
    key = jax.random.fold_in(jax.random.key(seed), 1)
    frozen_Hxd = np.asarray(draw_features(key, max(own.widths), dimension + 1), np.float64)
    fits = best_readouts(frozen_Hxd, omega_Nxd, m_NxE[:, 0], sorted(own.widths))
    return pd.DataFrame(fits).assign(
        dimension=dimension,
        seed=seed,
        narrow_loss=float(_losses(network, task.data, task.data.test)[-1]),
        narrow_price=float(np.square(m_NxE).mean()),
    )


def best_readouts(
    frozen_Hxd: np.ndarray, omega_Nxd: np.ndarray, m_N: np.ndarray, widths: Sequence[int]
) -> list[Fit]:
    """Makes (1/N) Σ_n M_n relu(ω_n·x̃/√d) again from the first H frozen features, for each H."""
    weight_N = m_N / m_N.size
    square = weight_N @ products(omega_Nxd, omega_Nxd) @ weight_N
    frozen_Hxd = frozen_Hxd[: max(widths)]
    gram_HxH = products(frozen_Hxd, frozen_Hxd)
    cross_H = products(frozen_Hxd, omega_Nxd) @ weight_N
    fits = []
    for width in widths:
        theta_HxH, target_H = gram_HxH[:width, :width], cross_H[:width]
        ridge = RIDGE * float(np.trace(theta_HxH)) / width
        factor = linalg.cho_factor(theta_HxH + ridge * np.eye(width))
        share_H = linalg.cho_solve(factor, target_H)
        left = square - 2 * share_H @ target_H + share_H @ theta_HxH @ share_H
        price = float(np.square(width * share_H).mean())
        fits.append(Fit(width, math.sqrt(max(left, 0.0) / square), price))
    return fits


def products(a_Hxd: np.ndarray, b_Nxd: np.ndarray) -> np.ndarray:
    """E_x[relu(a·x̃/√d) relu(b·x̃/√d)] under x ~ N(0, I_D), of every pair: product_HxN.

    Features must have a part besides the bias coordinate. The bivariate normal distribution
    function is D. B. Owen's, Ann. Math. Stat. 27 (1956).
    """
    d = a_Hxd.shape[1]
    bias = feature_bias(d - 1, None)
    sigma_Hx1 = np.linalg.norm(a_Hxd[:, :-1], axis=1)[:, None]
    sigma_1xN = np.linalg.norm(b_Nxd[:, :-1], axis=1)[None, :]
    h_Hx1 = bias * a_Hxd[:, -1:] / sigma_Hx1
    k_1xN = bias * b_Nxd[:, -1:].T / sigma_1xN
    rho_HxN = np.clip((a_Hxd[:, :-1] / sigma_Hx1) @ (b_Nxd[:, :-1] / sigma_1xN.T).T, -1, 1)
    tau_HxN = np.sqrt((1 - rho_HxN) * (1 + rho_HxN))
    # A τ of this size is all rounding. Then p and q are infinite or, of equal features, 0.
    apart_HxN = tau_HxN > 1e-7
    rho_HxN = np.where(apart_HxN, rho_HxN, np.sign(rho_HxN))
    root_HxN = np.where(apart_HxN, tau_HxN, 1e-6)
    p_HxN = (k_1xN - rho_HxN * h_Hx1) / root_HxN
    q_HxN = (h_Hx1 - rho_HxN * k_1xN) / root_HxN
    both_HxN = (
        (ndtr(h_Hx1) + ndtr(k_1xN) - (h_Hx1 * k_1xN < 0)) / 2
        - owens_t(h_Hx1, p_HxN / h_Hx1)
        - owens_t(k_1xN, q_HxN / k_1xN)
    )
    density_Hx1, density_1xN = _density(h_Hx1), _density(k_1xN)
    bracket_HxN = (
        (h_Hx1 * k_1xN + rho_HxN) * both_HxN
        + h_Hx1 * density_1xN * ndtr(q_HxN)
        + k_1xN * density_Hx1 * ndtr(p_HxN)
        + apart_HxN * tau_HxN * density_Hx1 * _density(p_HxN)
    )
    return sigma_Hx1 * sigma_1xN * bracket_HxN / d


def mass_on_aligned(
    omega_Hxd: np.ndarray, m_HxE: np.ndarray, v_Kxd: np.ndarray, bound: float
) -> Mass:
    """The share of the readout's mass on features whose largest |cos| exceeds the bound.

    Of the mass a feature's part is what its term contributes to the mean square of the outputs: its
    squared readout times its own mean square under x ~ N(0, I).
    """
    d = omega_Hxd.shape[1]
    mean_H = feature_bias(d - 1, None) * omega_Hxd[:, -1] / math.sqrt(d)
    sigma_H = np.linalg.norm(omega_Hxd[:, :-1], axis=1) / math.sqrt(d)
    square_H = sigma_H**2 * relu_second_moment(mean_H / sigma_H)
    mass_H = square_H * np.square(m_HxE).sum(axis=1)
    aligned_H = alignment(omega_Hxd, v_Kxd) > bound
    return Mass(
        float(mass_H[aligned_H].sum() / mass_H.sum()),
        float(square_H[aligned_H].sum() / square_H.sum()),
    )


def alignment(omega_Hxd: np.ndarray, v_Kxd: np.ndarray) -> np.ndarray:
    """Of each feature the largest |cos| to a planted direction."""
    cos_HxK = omega_Hxd @ v_Kxd.T / np.linalg.norm(omega_Hxd, axis=1)[:, None]
    return np.abs(cos_HxK / np.linalg.norm(v_Kxd, axis=1)[None, :]).max(axis=1)


def _float64(network: Trained) -> list[tuple[np.ndarray, np.ndarray]]:
    """Features and readout after each logged step."""
    m_LxHxE = np.asarray(network.m_LxHxE, np.float64)
    omega_LxHxd = np.asarray(network.omega_LxHxd, np.float64)
    return [
        (omega_LxHxd[min(step, len(omega_LxHxd) - 1)], m_HxE) for step, m_HxE in enumerate(m_LxHxE)
    ]


def _losses(network: Trained, data: Data, split: slice) -> np.ndarray:
    """Mean square error after each logged step, in variances of the targets."""
    x_Axd, y_A = data.x_Axd[split], np.asarray(data.target_A[split, 0], np.float64)
    width = network.m_LxHxE.shape[1]
    if len(network.omega_LxHxd) == 1:
        g_AxH = relu(x_Axd, network.omega_LxHxd[0])
        f_LxA = np.asarray(g_AxH @ network.m_LxHxE[..., 0].T / width, np.float64).T
    else:
        pairs = zip(network.omega_LxHxd, network.m_LxHxE, strict=True)
        f_LxA = np.stack(
            [np.asarray(relu(x_Axd, w) @ m[:, 0] / width, np.float64) for w, m in pairs]
        )
    return np.square(f_LxA - y_A[None, :]).mean(axis=1)


def _density(z: np.ndarray) -> np.ndarray:
    return np.exp(-np.square(z) / 2) / math.sqrt(2 * math.pi)
