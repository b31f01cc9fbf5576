# SPDX-License-Identifier: Apache-2.0
"""Where the readout's mass goes when a teacher's directions are planted.

Shapes: K planted directions; H features, d = D + 1; E = 1 output; L logged steps; A examples.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd

from infwidth.experiments.feature_selection.infinite import (
    KERNEL_RULES,
    infinite_losses,
    kernel_rule,
)
from infwidth.experiments.feature_selection.least_squares import best_readouts
from infwidth.experiments.feature_selection.settings import FeatureSelectionSettings, Rule
from infwidth.experiments.feature_selection.teacher import Teacher
from infwidth.experiments.feature_selection.training import (
    Constants,
    Data,
    Trained,
    draw_batches,
    features_of,
    relu,
    teacher_data,
    train,
    unit_of_sgd,
)
from infwidth.infinite import KernelTransformation
from infwidth.models.features import draw_features, feature_bias
from infwidth.models.normalization import relu_second_moment
from infwidth.stats.selection import Cell

DIVERGED = 10.0
"""A loss above this, at the end, is that of a training that diverged; outputs of 0 have 1."""


class Mass(NamedTuple):
    """How much of the readout lies on aligned features.

    Attributes:
      aligned: their share of Σ_h M_h² E_x[g_h²].
      at_random: the same for a readout that is independent of the features.
    """

    aligned: float
    at_random: float


def sgd_unit_of(settings: FeatureSelectionSettings) -> float:
    """SGD's rate is in units of this: of the first tuning seed's first batch, for all seeds.

    One unit for all, since the largest rate at which SGD is stable hardly depends on the teacher,
    where the size of the first gradient does.
    """
    planted, seed = settings.planted, settings.tuning.seeds[0]
    data, _ = _data(settings, planted.dimension, seed)
    omega_Hxd = features_of(seed, planted.reference_width, data)
    return unit_of_sgd(data, omega_Hxd, _batches(settings, data, seed))


def validation_loss(
    settings: FeatureSelectionSettings, rule: Rule, cell: Cell, seed: int, unit: float
) -> float:
    """The logarithm of a tuning run's loss at the end: losses differ by orders of magnitude."""
    planted = settings.planted
    data, _ = _data(settings, planted.dimension, seed)
    network = _train(settings, data, rule, cell, planted.reference_width, seed, unit)
    loss = float(_losses(network, data, data.validation)[-1])
    return math.log(loss) if loss <= DIVERGED else math.inf


def measure_mass(
    settings: FeatureSelectionSettings, rule: Rule, cell: Cell, width: int, seed: int, unit: float
) -> pd.DataFrame:
    """Trains a network and looks where its readout is.

    Args:
      settings: of the experiment.
      rule: how it trains.
      cell: its rates.
      width: H.
      seed: of teacher, features and batches.
      unit: of `sgd_unit_of`.

    Returns:
      A row a logged step: `aligned` and `at_random` (`Mass`), and the test `loss` in variances of
      the targets. What diverged is NaN.
    """
    data, teacher = _data(settings, settings.planted.dimension, seed)
    network = _train(settings, data, rule, cell, width, seed, unit)
    start_Hxd = np.asarray(features_of(seed, width, data), np.float64)
    bound = _bound(start_Hxd, teacher.v_Kxd, settings.planted.aligned_share)
    masses = [
        mass_on_aligned(omega_Hxd, m_HxE, teacher.v_Kxd, bound)
        for omega_Hxd, m_HxE in _float64(network)
    ]
    table = pd.DataFrame(masses).assign(loss=_losses(network, data, data.test))
    if not table["loss"].iloc[-1] <= DIVERGED:
        table[:] = math.nan
    return table.assign(rule=rule, width=width, seed=seed, step=_logged(settings))


def infinite_solvers(
    settings: FeatureSelectionSettings, cells: Mapping[Rule, Cell], unit: float
) -> dict[Rule, KernelTransformation]:
    """By rule, the solver at infinite width, at the rate that was tuned at finite width."""
    constants = (settings.b1, settings.b2, settings.eps, _logged(settings)[-1])
    return {
        rule: kernel_rule(rule, cells[rule].learning_rate * _unit(rule, unit), *constants)
        for rule in KERNEL_RULES
    }


def measure_infinite(
    settings: FeatureSelectionSettings, solvers: Mapping[Rule, KernelTransformation], seed: int
) -> pd.DataFrame:
    """The test losses of infinitely wide networks on the data and batches of the finite ones.

    Returns:
      A row a rule, of `infinite_losses`, and the seed. What diverged is NaN.
    """
    data, _ = _data(settings, settings.planted.dimension, seed)
    batch_SxK = _batches(settings, data, seed)
    table = infinite_losses(data, batch_SxK, solvers)
    return table.assign(loss=table["loss"].where(table["loss"] <= DIVERGED), seed=seed)


def reproduce_narrow(
    settings: FeatureSelectionSettings, cell: Cell, dimension: int, seed: int
) -> pd.DataFrame:
    """Trains a narrow network, features and all, and fits frozen features to it.

    Args:
      settings: of the experiment.
      cell: the rates of the rule `unfrozen`.
      dimension: D.
      seed: of teacher, features and batches.

    Returns:
      A row a width: `error` and `price` (of `best_readouts`); and, the same in each, the narrow
      network's `narrow_loss` on test examples and its own `narrow_price` (1/N) Σ M².
    """
    own = settings.least_squares
    data, _ = _data(settings, dimension, seed)
    network = _train(settings, data, "unfrozen", cell, own.units, seed, 1.0)
    *_, (omega_Nxd, m_NxE) = _float64(network)
    # Others than those that the narrow network started from.
    key = jax.random.fold_in(jax.random.key(seed), 1)
    frozen_Hxd = np.asarray(draw_features(key, max(own.widths), dimension + 1), np.float64)
    fits = best_readouts(frozen_Hxd, omega_Nxd, m_NxE[:, 0], sorted(own.widths))
    return pd.DataFrame(fits).assign(
        dimension=dimension,
        seed=seed,
        narrow_loss=float(_losses(network, data, data.test)[-1]),
        narrow_price=float(np.square(m_NxE).mean()),
    )


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


def _bound(start_Hxd: np.ndarray, v_Kxd: np.ndarray, share: float) -> float:
    return float(np.quantile(alignment(start_Hxd, v_Kxd), 1 - share))


def _data(settings: FeatureSelectionSettings, dimension: int, seed: int) -> tuple[Data, Teacher]:
    of = settings.planted
    return teacher_data(seed, of.units, dimension, of.train_examples, of.held_out_examples)


def _logged(settings: FeatureSelectionSettings) -> tuple[int, ...]:
    return tuple(sorted(settings.planted.logged_steps))


def _batches(settings: FeatureSelectionSettings, data: Data, seed: int) -> jax.Array:
    return draw_batches(seed, data, _logged(settings)[-1], settings.planted.batch_size)


def _train(
    settings: FeatureSelectionSettings,
    data: Data,
    rule: Rule,
    cell: Cell,
    width: int,
    seed: int,
    unit: float,
) -> Trained:
    rate = cell.learning_rate * _unit(rule, unit)
    return train(
        rule,
        data.x_Axd,
        data.target_A,
        data.outputs,
        features_of(seed, width, data),
        _batches(settings, data, seed),
        Constants.of(rate, cell.kappa or 0.0, settings.b1, settings.b2, settings.eps),
        _logged(settings),
    )


def _unit(rule: Rule, unit_of_sgd: float) -> float:
    return unit_of_sgd if rule == "sgd" else 1.0


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
