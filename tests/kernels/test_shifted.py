# SPDX-License-Identifier: Apache-2.0
"""The kernel of ReLU features with ω_b ~ N(shift, 1): quadrature against the closed form.

Shapes: N inputs of dimension D.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import multivariate_normal

from infwidth.kernels import normalized_relu_kernel, relu_kernel, shifted_relu_kernel

D = 6
BIAS = math.sqrt(D) / 2
X_NxD = np.random.default_rng(0).normal(size=(8, D))


def density(z):
    return np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


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


PAIRS = {
    "apart": (X_NxD[0], X_NxD[1]),
    "close": (X_NxD[0], X_NxD[0] + 0.01 * X_NxD[1]),
    "opposite": (X_NxD[0], -X_NxD[0]),
    "of different lengths": (0.1 * X_NxD[0], 30 * X_NxD[1]),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("shift", [-0.41, 1.0, -3.0])
def test_it_is_the_closed_form(pair, shift):
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


def test_it_is_nearer_to_normalized_features_than_plain_ones_are():
    def direction(kernel):
        theta_NxN = np.asarray(kernel(X_NxD, X_NxD, bias=BIAS), np.float64)
        return theta_NxN / np.linalg.norm(theta_NxN)

    shifted, plain, normalized = map(
        direction, (shifted_relu_kernel, relu_kernel, normalized_relu_kernel)
    )
    apart = np.linalg.norm(plain - normalized)
    assert np.linalg.norm(shifted - normalized) < apart / 4


@pytest.mark.parametrize("y", [X_NxD[1], X_NxD[0], -X_NxD[0]], ids=["apart", "x = y", "x = -y"])
def test_the_gradient_is_the_slope(y):
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bias": 0.0}, "bias must be > 0"),
        ({"bias": 1.0, "shift": math.inf}, "shift must be finite"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        shifted_relu_kernel(X_NxD, X_NxD, **arguments)
