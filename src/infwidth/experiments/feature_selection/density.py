# SPDX-License-Identifier: Apache-2.0
"""A wide network that learned its features, reconstructed from frozen features by density ratio.

Of a mean-field network every unit has moved from (ω_0, M_0) ~ N(0, I) to (ω_t, M_t), and

    f_t(x) = E[M_t relu(ω_t·x̃)] / √d = E[w relu(u·x̃)] / √d,    u = ω_t/|ω_t|,  w = M_t |ω_t|

since a ReLU is positively homogeneous: what is left of ω is its direction u, on the circle for
D = 1 and on the sphere for D = 2. Let ρ(u) = E[w | u] q_t(u)/q(u), with q_t the density of u and q
the uniform one. Of all readouts M̃ over frozen features ω ~ N(0, I) with E[M̃ |ω| | u] = ρ(u), which
all have f_t for their infinite model, M̃(ω) = ρ(u) |ω| / d has the least second moment,
E[M̃²] = E[ρ²] / d. The ratio is estimated in cells of equal measure.

The readout starts at M_0 ~ N(0, 1), as it often does, and not at 0 as elsewhere in this project.
From M_0 = 0 all units of one direction share one path, paths come to cross, and where they turn
back q_t/q is infinite and its square has no integral; the spread of M_0 smooths that out.

Shapes: N particles, n inputs of dimension D, d = D + 1; C cells; H frozen features, P inputs to
compare at.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy.stats import qmc

from infwidth.config.errors import UserError
from infwidth.experiments.feature_selection.settings import DensityRatioSettings
from infwidth.experiments.feature_selection.training import (
    draw_teacher,
    extended,
    relu_features,
)
from infwidth.models.features import draw_features

UNITS = 3
"""Of the teacher."""

FINER = 8
"""The infinite width is summed over a grid of directions, this many to a cell's side."""

AT_A_TIME = 16_384
"""Features that are evaluated at a time."""


class Network(NamedTuple):
    """The network after training, and where its features started."""

    start_Nxd: np.ndarray
    omega_Nxd: np.ndarray
    m_N: np.ndarray
    loss: float
    """Mean square error before the last step; the targets have a variance of 1."""


def reproduce(
    settings: DensityRatioSettings, dimension: int, kappa: float, seed: int
) -> pd.DataFrame:
    """Trains a network, and makes it again at every width: a row each.

    `error` is the root mean square over draws of frozen features, relative to the network's
    outputs. The same in each row are `moved` (mean angle between a feature's direction before and
    after, radians), `loss` and `trained_second_moment` of the network, `price` E[M̃²],
    `coarse_price` (with a sixteenth of the cells) and `floor`, the error that the cells leave at
    infinite width.
    """
    network = train(settings, dimension, kappa, seed)
    if not (np.isfinite(network.m_N).all() and np.isfinite(network.omega_Nxd).all()):
        raise UserError(
            f"the network of κ = {kappa} diverged: lower "
            "feature_selection.density_ratio.learning_rate or its kappas"
        )
    d, bands = dimension + 1, settings.bands
    x_PxD = np.random.default_rng([seed, 1]).normal(size=(settings.test_points, dimension))
    f_P = outputs(x_PxD, network.omega_Nxd, network.m_N)
    rho_C = density_ratio(network.omega_Nxd, network.m_N, bands)
    coarse_C = density_ratio(network.omega_Nxd, network.m_N, bands // 4)

    def error(omega_Hxd: np.ndarray, m_H: np.ndarray) -> float:
        difference_P = outputs(x_PxD, omega_Hxd, m_H) - f_P
        return math.sqrt(np.square(difference_P).mean() / np.square(f_P).mean())

    grid_Fxd = grid(dimension, bands)
    squares: dict[int, list[float]] = {width: [] for width in sorted(settings.widths)}
    for draw in range(settings.draws):
        key = jax.random.fold_in(jax.random.key(seed), draw)
        frozen_Hxd = np.asarray(draw_features(key, max(squares), d), np.float64)
        m_H = reweighted(rho_C, frozen_Hxd, bands)
        for width, found in squares.items():
            found.append(error(frozen_Hxd[:width], m_H[:width]) ** 2)
    rows = [{"width": width, "error": math.sqrt(np.mean(x))} for width, x in squares.items()]
    return pd.DataFrame(rows).assign(
        dimension=dimension,
        kappa=kappa,
        seed=seed,
        moved=_angle(network.start_Nxd, network.omega_Nxd).mean(),
        loss=network.loss,
        trained_second_moment=np.square(network.m_N).mean(),
        price=np.square(rho_C).mean() / d,
        coarse_price=np.square(coarse_C).mean() / d,
        floor=error(grid_Fxd, rho_C[cells(grid_Fxd, bands)]),
    )


def train(settings: DensityRatioSettings, dimension: int, kappa: float, seed: int) -> Network:
    """Trains features and readout by gradient descent on the squared error over all inputs."""
    rng = np.random.default_rng([seed, 0])
    teacher = draw_teacher(rng, UNITS, dimension)
    x_nxD = even_normal(settings.points, dimension, seed + 1)
    y_n = teacher(x_nxD)
    start_Nxe = even_normal(settings.particles, dimension + 2, seed)
    start_Nxd, start_N = start_Nxe[:, :-1], start_Nxe[:, -1]
    omega_Nxd, m_N, loss = _descend(
        *(jnp.asarray(value, jnp.float32) for value in (start_Nxd, start_N, extended(x_nxD))),
        jnp.asarray((y_n - y_n.mean()) / y_n.std(), jnp.float32),
        jnp.asarray(settings.learning_rate, jnp.float32),
        jnp.asarray(kappa, jnp.float32),
        settings.steps,
    )
    return Network(
        start_Nxd, np.asarray(omega_Nxd, np.float64), np.asarray(m_N, np.float64), float(loss)
    )


@partial(jax.jit, static_argnames="steps")
def _descend(
    omega_Nxd: jax.Array,
    m_N: jax.Array,
    x_nxd: jax.Array,
    y_n: jax.Array,
    rate: jax.Array,
    kappa: jax.Array,
    steps: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    root = math.sqrt(x_nxd.shape[1])

    def step(carry: tuple, _: None) -> tuple[tuple, jax.Array]:
        omega_Nxd, m_N = carry
        g_Nxn = jax.nn.relu(jnp.dot(omega_Nxd, x_nxd.T) / root)
        delta_n = jnp.dot(m_N, g_Nxn) / m_N.size - y_n
        # Functional gradients of half the mean square error: the width's 1/N is taken out.
        active_Nxn = (g_Nxn > 0).astype(g_Nxn.dtype)
        pull_Nxd = jnp.dot(active_Nxn, delta_n[:, None] * x_nxd) / (root * y_n.size)
        gradient_N = jnp.dot(g_Nxn, delta_n) / y_n.size
        moved_Nxd = omega_Nxd - kappa * rate * m_N[:, None] * pull_Nxd
        return (moved_Nxd, m_N - rate * gradient_N), jnp.mean(jnp.square(delta_n))

    (omega_Nxd, m_N), loss_S = jax.lax.scan(step, (omega_Nxd, m_N), None, length=steps)
    return omega_Nxd, m_N, loss_S[-1]


def cells(omega_Nxd: np.ndarray, bands: int) -> np.ndarray:
    """The cell of each feature's direction, from 0, of 2 bands² that have equal measure.

    On the circle (d = 2) these are arcs. On the sphere (d = 3) bands of equal height are cut into
    2 bands sectors each; by Archimedes their areas are equal.
    """
    turn_N = np.arctan2(omega_Nxd[:, 1], omega_Nxd[:, 0]) / (2 * math.pi) % 1
    if omega_Nxd.shape[1] == 2:
        return _place(turn_N, 2 * bands**2)
    height_N = omega_Nxd[:, 2] / np.linalg.norm(omega_Nxd, axis=1)
    return _place((height_N + 1) / 2, bands) * 2 * bands + _place(turn_N, 2 * bands)


def grid(dimension: int, bands: int) -> np.ndarray:
    """Unit vectors, equally many and evenly spread in every cell: sums over them are integrals."""
    fine = FINER * bands
    if dimension == 1:
        turn_F = 2 * math.pi * (np.arange(2 * fine**2) + 0.5) / (2 * fine**2)
        return np.stack([np.cos(turn_F), np.sin(turn_F)], axis=1)
    height_G = 2 * (np.arange(fine) + 0.5) / fine - 1
    turn_G = math.pi * (np.arange(2 * fine) + 0.5) / fine
    height_F, turn_F = (np.ravel(x) for x in np.meshgrid(height_G, turn_G, indexing="ij"))
    flat_F = np.sqrt(1 - height_F**2)
    return np.stack([flat_F * np.cos(turn_F), flat_F * np.sin(turn_F), height_F], axis=1)


def density_ratio(omega_Nxd: np.ndarray, m_N: np.ndarray, bands: int) -> np.ndarray:
    """ρ in every cell: E[w | u] times the share of units there over the cell's own share."""
    size_N = m_N * np.linalg.norm(omega_Nxd, axis=1)
    C = 2 * bands**2
    return np.bincount(cells(omega_Nxd, bands), size_N, minlength=C) * C / m_N.size


def reweighted(rho_C: np.ndarray, omega_Hxd: np.ndarray, bands: int) -> np.ndarray:
    """M̃(ω) = ρ(u) |ω| / d of some frozen features."""
    d = omega_Hxd.shape[1]
    return rho_C[cells(omega_Hxd, bands)] * np.linalg.norm(omega_Hxd, axis=1) / d


def outputs(x_PxD: np.ndarray, omega_Hxd: np.ndarray, m_H: np.ndarray) -> np.ndarray:
    """f_P = (1/H) Σ_h M_h relu(ω_h·x̃/√d)."""
    total_P = np.zeros(len(x_PxD))
    for first in range(0, m_H.size, AT_A_TIME):
        part = slice(first, first + AT_A_TIME)
        total_P += relu_features(x_PxD, omega_Hxd[part]) @ m_H[part]
    return total_P / m_H.size


def even_normal(count: int, dimension: int, seed: int) -> np.ndarray:
    """Points of N(0, I) that lie more evenly than independent ones (Halton's, scrambled)."""
    engine = qmc.Halton(dimension, seed=seed)
    return qmc.MultivariateNormalQMC(np.zeros(dimension), engine=engine).random(count)


def _place(share_N: np.ndarray, parts: int) -> np.ndarray:
    # Rounding may give a share of exactly 1.
    return np.minimum((share_N * parts).astype(np.int64), parts - 1)


def _angle(a_Nxd: np.ndarray, b_Nxd: np.ndarray) -> np.ndarray:
    lengths_N = np.linalg.norm(a_Nxd, axis=1) * np.linalg.norm(b_Nxd, axis=1)
    return np.arccos(np.clip((a_Nxd * b_Nxd).sum(axis=1) / lengths_N, -1, 1))
