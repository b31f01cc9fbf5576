# SPDX-License-Identifier: Apache-2.0
"""Networks made again from frozen features: by density ratio, and by the best readout.

Shapes: A examples, d = D + 1; H features, E outputs; S steps of K examples.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infwidth.config.errors import UserError
from infwidth.experiments.feature_selection import density
from infwidth.experiments.feature_selection.planted import best_readouts, products
from infwidth.experiments.feature_selection.settings import DensityRatioSettings
from infwidth.experiments.feature_selection.training import extended, relu_features
from infwidth.models.features import relu_second_moment

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dimension", [1, 2])
def test_cells_have_equal_measure(dimension):
    bands, count = 4, 64_000
    omega_Nxd = np.random.default_rng(1).normal(size=(count, dimension + 1))
    found_C = np.bincount(density.cells(omega_Nxd, bands), minlength=32)
    assert found_C.size == 32
    # χ² of 31 degrees of freedom exceeds 70 with probability 1e-4.
    assert np.square(found_C - count / 32).sum() / (count / 32) < 70
    even_C = np.bincount(density.cells(density.grid(dimension, bands), bands))
    assert set(even_C) == {density.FINER**2}


def test_cells_do_not_see_lengths():
    omega_Nxd = RNG.normal(size=(50, 3))
    lengths_N = RNG.uniform(0.1, 10, size=50)
    first, second = (density.cells(w, 8) for w in (omega_Nxd, omega_Nxd * lengths_N[:, None]))
    assert (first == second).all()


def test_features_that_stayed_cost_what_their_lengths_do():
    # With M = 1, ρ = E|ω| everywhere: for d = 2 that is √(π/2), and E[M̃²] = π/4.
    omega_Nxd = density.even_normal(100_000, 2, seed=0)
    rho_C = density.density_ratio(omega_Nxd, np.ones(100_000), bands=4)
    np.testing.assert_allclose(rho_C, math.sqrt(math.pi / 2), rtol=0.02)
    assert np.square(rho_C).mean() / 2 == pytest.approx(math.pi / 4, rel=0.005)


@pytest.mark.parametrize("dimension", [1, 2])
def test_reweighting_gives_the_function_of_features_that_moved(dimension):
    # ω_t = Aω and M = 1: f(x) = E relu(Aω·x̃)/√d = |Aᵀx̃| / √(2π d), a closed form.
    d, bands = dimension + 1, 24
    A_dxd = np.diag([2.0, 1.0, 0.6][:d])
    omega_Nxd = density.even_normal(200_000, d, seed=1) @ A_dxd.T
    rho_C = density.density_ratio(omega_Nxd, np.ones(len(omega_Nxd)), bands)
    x_PxD = RNG.normal(size=(40, dimension))
    f_P = np.linalg.norm(extended(x_PxD) @ A_dxd, axis=1) / math.sqrt(2 * math.pi * d)
    grid_Fxd = density.grid(dimension, bands)
    limit_P = density.outputs(x_PxD, grid_Fxd, rho_C[density.cells(grid_Fxd, bands)])
    np.testing.assert_allclose(limit_P, f_P, rtol=0.01)
    # And by frozen features ω ~ N(0, I), within 4 Monte-Carlo errors at every point.
    frozen_Hxd = np.random.default_rng(3).normal(size=(100_000, d))
    term_PxH = relu_features(x_PxD, frozen_Hxd) * density.reweighted(rho_C, frozen_Hxd, bands)
    error_P = term_PxH.std(axis=1) / math.sqrt(100_000)
    assert np.abs(term_PxH.mean(axis=1) - f_P).max() < (4 * error_P + 0.01 * f_P).max()


def test_particles_descend_the_gradient_of_half_the_mean_square_error():
    N, n, d, rate, kappa = 6, 5, 3, 0.5, 0.2
    rng = np.random.default_rng(4)
    omega_Nxd, m_N, x_nxd, y_n = (
        jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((N, d), N, (n, d), n)
    )

    def loss(omega_Nxd, m_N):
        f_n = jnp.dot(m_N, jax.nn.relu(jnp.dot(omega_Nxd, x_nxd.T) / math.sqrt(d))) / N
        return jnp.mean(jnp.square(f_n - y_n)) / 2

    expected = omega_Nxd, m_N
    for _ in range(2):
        g_Nxd, g_N = jax.grad(loss, argnums=(0, 1))(*expected)
        expected = expected[0] - kappa * rate * N * g_Nxd, expected[1] - rate * N * g_N
    rates = (jnp.float32(rate), jnp.float32(kappa))
    *found, _ = density._descend(omega_Nxd, m_N, x_nxd, y_n, *rates, steps=2)
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def small():
    return DensityRatioSettings(
        particles=2048, points=32, steps=20, bands=8, widths=[16, 256], draws=2, test_points=16
    )


def test_features_at_rest_are_reproduced_and_moved_ones_cost_more(small):
    still, moved = (density.reproduce(small, 2, kappa, seed=3) for kappa in (0.0, 1.0))
    assert (still["moved"] < 1e-3).all()
    assert (moved["moved"] > 0.1).all()
    assert still["error"].is_monotonic_decreasing
    # At rest M̃ is E[M | u], less or equal to M in mean square but for the cells' noise.
    assert still["price"][0] < 1.1 * still["trained_second_moment"][0]
    assert moved["price"][0] > 2 * moved["trained_second_moment"][0]
    assert moved["floor"][0] < 0.2


def test_a_network_that_diverges_names_the_setting(small):
    with pytest.raises(UserError, match=r"density_ratio\.learning_rate"):
        density.reproduce(small.model_copy(update={"learning_rate": 1e30}), 2, 1.0, 0)


# The best readout, against quadrature, sampling and least squares.


def test_products_are_integrals_over_normal_inputs():
    # D = 1: a sum over a grid of x; its error is that at the kinks, of the order of (6e-5)².
    x_A = np.linspace(-12, 12, 400_001)
    weight_A = np.exp(-(x_A**2) / 2) / math.sqrt(2 * math.pi) * (x_A[1] - x_A[0])
    omega_Hxd = np.random.default_rng(5).normal(size=(7, 2))
    omega_Hxd[1], omega_Hxd[2] = 2 * omega_Hxd[0], -omega_Hxd[0]
    g_AxH = relu_features(x_A[:, None], omega_Hxd)
    expected_HxH = g_AxH.T @ (weight_A[:, None] * g_AxH)
    np.testing.assert_allclose(products(omega_Hxd, omega_Hxd), expected_HxH, atol=1e-7)


def test_products_in_more_dimensions():
    omega_Hxd = np.random.default_rng(6).normal(size=(5, 4))
    found_HxH = products(omega_Hxd, omega_Hxd)
    sigma_H = np.linalg.norm(omega_Hxd[:, :-1], axis=1)
    ratio_H = math.sqrt(3) / 2 * omega_Hxd[:, -1] / sigma_H
    diagonal_H = sigma_H**2 * relu_second_moment(ratio_H) / 4
    np.testing.assert_allclose(np.diag(found_HxH), diagonal_H, rtol=1e-9)
    x_AxD = np.random.default_rng(7).normal(size=(200_000, 3))
    g_AxH = relu_features(x_AxD, omega_Hxd)
    # 5 standard errors of the mean.
    for h in range(5):
        terms_AxH = g_AxH[:, h : h + 1] * g_AxH
        error_H = terms_AxH.std(axis=0) / math.sqrt(200_000)
        assert (np.abs(terms_AxH.mean(axis=0) - found_HxH[h]) < 5 * error_H).all()


def test_the_best_readout_is_that_of_weighted_least_squares():
    rng = np.random.default_rng(8)
    frozen_Hxd, omega_Nxd, m_N = (
        rng.normal(size=(4, 2)),
        rng.normal(size=(3, 2)),
        rng.normal(size=3),
    )
    x_A = np.linspace(-9, 9, 100_001)
    root_A = np.sqrt(np.exp(-(x_A**2) / 2))
    f_A = density.outputs(x_A[:, None], omega_Nxd, m_N)
    fits = best_readouts(frozen_Hxd, omega_Nxd, m_N, [2, 4])
    assert [fit.width for fit in fits] == [2, 4]
    for fit in fits:
        g_AxH = relu_features(x_A[:, None], frozen_Hxd[: fit.width])
        share_H = np.linalg.lstsq(root_A[:, None] * g_AxH, root_A * f_A, rcond=None)[0]
        left = np.linalg.norm(root_A * (g_AxH @ share_H - f_A)) / np.linalg.norm(root_A * f_A)
        assert fit.error == pytest.approx(left, rel=1e-4)
        assert fit.price == pytest.approx(np.square(fit.width * share_H).mean(), rel=1e-4)


def test_a_network_of_frozen_features_is_had_exactly():
    rng = np.random.default_rng(9)
    frozen_Hxd, m_N = rng.normal(size=(6, 3)), rng.normal(size=4)
    (fit,) = best_readouts(frozen_Hxd, frozen_Hxd[:4], m_N, [6])
    assert fit.error < 1e-4
    # The readout is M_n H/N on the four, 0 on the two others.
    assert fit.price == pytest.approx(np.square(m_N * 6 / 4).sum() / 6, rel=1e-3)
