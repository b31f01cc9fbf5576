# SPDX-License-Identifier: Apache-2.0
"""The best readout of frozen features, against quadrature, sampling and least squares.

Shapes: A examples, d = D + 1; H features, E outputs; S steps of K examples.
"""

import math

import numpy as np
import pytest

from infwidth.experiments.feature_selection import density
from infwidth.experiments.feature_selection.planted import best_readouts, products
from infwidth.experiments.feature_selection.training import relu_features
from infwidth.models.normalization import relu_second_moment


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
