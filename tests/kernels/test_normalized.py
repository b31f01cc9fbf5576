# SPDX-License-Identifier: Apache-2.0
"""Kernels that weigh ω_b otherwise, against quadrature, closed forms and the layers that have them.

Shapes: N inputs of dimension D, H features, Q nodes.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import ndtr
from scipy.stats import multivariate_normal

from infwidth.kernels import normalized_relu_kernel, relu_kernel, shifted_relu_kernel
from infwidth.kernels.normalized import nodes
from infwidth.models.features import FeatureMLP, feature_scale

D = 6
BIAS = math.sqrt(D) / 2
X_NxD = np.random.default_rng(0).normal(size=(8, D))


def by_quadrature(x, y):
    """E over ω_b, and over the argument at x; the one at y, given both, is normal."""
    d = len(x) + 1
    sigma, tau = np.linalg.norm(x) / math.sqrt(d), np.linalg.norm(y) / math.sqrt(d)
    rho = x @ y / (d * sigma * tau)
    rest = tau * math.sqrt(1 - rho**2)
    node, weight = np.polynomial.legendre.leggauss(400)
    total = 0.0
    for low, high in ((-8.0, 0.0), (0.0, 8.0)):
        omega_Qx1 = ((high - low) * node + high + low)[:, None] / 2
        scale_Qx1 = feature_scale(omega_Qx1, len(x), BIAS)
        a_Qx1 = BIAS * omega_Qx1 / math.sqrt(d)
        least_Qx1 = np.clip(-a_Qx1 / sigma, -12, 12)
        z_QxZ = least_Qx1 + (12 - least_Qx1) / 2 * (node + 1)
        mean_QxZ = a_Qx1 + tau * rho * z_QxZ
        relu_QxZ = mean_QxZ * ndtr(mean_QxZ / rest) + rest * density(mean_QxZ / rest)
        value_QxZ = (12 - least_Qx1) / 2 * density(z_QxZ) * (a_Qx1 + sigma * z_QxZ) * relu_QxZ
        density_Q = (density(omega_Qx1) / scale_Qx1**2)[:, 0]
        total += (high - low) / 2 * (weight * density_Q) @ (value_QxZ @ weight)
    return total


def density(z):
    return np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


@pytest.mark.parametrize(
    "pair",
    [
        (X_NxD[0], X_NxD[1]),
        (X_NxD[0], X_NxD[0] + 0.01 * X_NxD[1]),
        (X_NxD[0], -X_NxD[0] + 0.01 * X_NxD[1]),
        (0.1 * X_NxD[0], 3 * X_NxD[1]),
    ],
    ids=["apart", "close", "opposite", "of different lengths"],
)
def test_normalized_it_is_the_expectation(pair):
    with jax.enable_x64(True):
        found = normalized_relu_kernel(pair[0][None], pair[1][None], bias=BIAS)
    assert float(found[0, 0]) == pytest.approx(by_quadrature(*pair), rel=3e-7)


def test_its_weights_are_those_of_the_finite_layer():
    omega_Q, weight_Q = nodes(BIAS / math.sqrt(D))
    plain_Q = nodes(1e-12).weight_Q  # without a bias all features are alike
    np.testing.assert_allclose(plain_Q.sum(), 1, rtol=1e-9)
    expected_Q = plain_Q / feature_scale(omega_Q, D, BIAS) ** 2
    np.testing.assert_allclose(weight_Q, expected_Q, rtol=1e-8)


def test_it_is_the_limit_of_the_finite_layer():
    width = 200_000
    layer = FeatureMLP(D, width, normalized=True, rngs=nnx.Rngs(features=0, readout=0))
    omega_Hxd = np.asarray(layer.omega_Hxd[...], np.float64)
    extended_Nxd = np.pad(X_NxD, ((0, 0), (0, 1)), constant_values=BIAS)
    g_NxH = np.maximum(extended_Nxd @ omega_Hxd.T / math.sqrt(D + 1), 0)
    products_NxNxH = g_NxH[:, None] * g_NxH[None]
    error_NxN = products_NxNxH.std(axis=2) / math.sqrt(width)
    found_NxN = np.asarray(normalized_relu_kernel(X_NxD, X_NxD, bias=BIAS), np.float64)
    # 36 different pairs, five standard errors.
    assert (np.abs(found_NxN - products_NxNxH.mean(axis=2)) < 5 * error_NxN).all()
    # Features that are not normalized would be 10 times further off.
    plain_NxN = np.asarray(relu_kernel(X_NxD, X_NxD, bias=BIAS))
    assert (np.abs(plain_NxN - found_NxN) > 5 * error_NxN).mean() > 0.8


def test_at_zero_it_is_what_it_tends_to():
    zero_1xD = np.zeros((1, D))
    with jax.enable_x64(True):
        y_MxD = np.vstack([X_NxD, zero_1xD])

        def weighted(x_1xD):
            theta_1xM = normalized_relu_kernel(x_1xD, y_MxD, bias=BIAS)
            return theta_1xM.sum(), theta_1xM

        of = jax.jit(jax.grad(weighted, has_aux=True))
        gradient_1xD, at_zero = of(zero_1xD)
        _, near = of(zero_1xD + 1e-9)
    np.testing.assert_allclose(at_zero, near, rtol=1e-7)
    assert np.isfinite(gradient_1xD).all()


def test_a_strong_bias_leaves_it_finite():
    bias = 8 * math.sqrt(D)
    found_NxN = np.asarray(normalized_relu_kernel(X_NxD, X_NxD, bias=bias))
    assert np.isfinite(found_NxN).all()


@pytest.mark.parametrize("kernel", [normalized_relu_kernel, shifted_relu_kernel])
@pytest.mark.parametrize("bias", [0.0, -1.0, math.nan])
def test_without_a_bias_it_is_refused(kernel, bias):
    with pytest.raises(ValueError, match="bias must be > 0"):
        kernel(X_NxD, X_NxD, bias=bias)


def closed_form(x, y, shift):
    """Equation (18) of docs/theory.md."""
    x, y = np.append(x, BIAS), np.append(y, BIAS)
    root = math.sqrt(len(x))
    sigma, tau = np.linalg.norm(x) / root, np.linalg.norm(y) / root
    a, rho = shift * BIAS / root, x @ y / np.linalg.norm(x) / np.linalg.norm(y)
    h, k, t = a / sigma, a / tau, math.sqrt(1 - rho**2)
    both = multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf([h, k])
    return (
        sigma
        * tau
        * (
            (h * k + rho) * both
            + h * density(k) * ndtr((h - rho * k) / t)
            + k * density(h) * ndtr((k - rho * h) / t)
            + t * density(h) * density((k - rho * h) / t)
        )
    )


SHIFTED_PAIRS = {
    "apart": (X_NxD[0], X_NxD[1]),
    "close": (X_NxD[0], X_NxD[0] + 0.01 * X_NxD[1]),
    "opposite": (X_NxD[0], -X_NxD[0]),
    "of different lengths": (0.1 * X_NxD[0], 30 * X_NxD[1]),
}


@pytest.mark.parametrize("pair", SHIFTED_PAIRS.values(), ids=SHIFTED_PAIRS)
@pytest.mark.parametrize("shift", [-0.41, 1.0, -3.0])
def test_shifted_it_is_the_closed_form(pair, shift):
    with jax.enable_x64(True):
        found = shifted_relu_kernel(pair[0][None], pair[1][None], bias=BIAS, shift=shift)
    # SciPy's bivariate distribution function is good to some 1e-8 of 1.
    expected = closed_form(*pair, shift)
    assert float(found[0, 0]) == pytest.approx(expected, rel=1e-7, abs=1e-8)


def test_unshifted_it_is_the_plain_kernel():
    with jax.enable_x64(True):
        found_NxN = np.asarray(shifted_relu_kernel(X_NxD, X_NxD, bias=BIAS, shift=0.0))
        plain_NxN = np.asarray(relu_kernel(X_NxD, X_NxD, bias=BIAS))
    np.testing.assert_allclose(found_NxN, plain_NxN, rtol=1e-12)


def test_shifted_it_is_nearer_to_normalized_features_than_plain_ones_are():
    def direction(kernel):
        theta_NxN = np.asarray(kernel(X_NxD, X_NxD, bias=BIAS), np.float64)
        return theta_NxN / np.linalg.norm(theta_NxN)

    shifted, plain, normalized = map(
        direction, (shifted_relu_kernel, relu_kernel, normalized_relu_kernel)
    )
    apart = np.linalg.norm(plain - normalized)
    assert np.linalg.norm(shifted - normalized) < apart / 4


@pytest.mark.parametrize("y", [X_NxD[1], X_NxD[0], -X_NxD[0]], ids=["apart", "x = y", "x = -y"])
def test_shifted_the_gradient_is_the_slope(y):
    @jax.jit
    @jax.value_and_grad
    def value(x_D):
        return shifted_relu_kernel(x_D[None], jnp.asarray(y)[None], bias=BIAS)[0, 0]

    with jax.enable_x64(True):
        x_D, step = jnp.asarray(X_NxD[0]), 1e-5
        found_D = np.asarray(value(x_D)[1])
        slope_D = [
            float(value(x_D + step * e)[0] - value(x_D - step * e)[0]) / 2 / step for e in np.eye(D)
        ]
    np.testing.assert_allclose(found_D, slope_D, rtol=1e-6, atol=1e-8)


def test_a_shift_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="shift must be finite"):
        shifted_relu_kernel(X_NxD, X_NxD, bias=1.0, shift=math.inf)
