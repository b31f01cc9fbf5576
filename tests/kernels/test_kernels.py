# SPDX-License-Identifier: Apache-2.0
"""Properties of all kernels: features' averages, symmetry, definiteness, JAX's transformations."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infwidth.kernels import (
    erf_kernel,
    gelu_kernel,
    monte_carlo_kernel,
    nngp_kernel,
    normalized_relu_kernel,
    ntk_kernel,
    relu_kernel,
    shifted_relu_kernel,
)
from infwidth.models.features import FeatureMLP, draw_features


def nngp(x, y, **settings):
    return nngp_kernel(x, y, hidden_layers=3, bias_variance=0.1, **settings)


def ntk(x, y, **settings):
    return ntk_kernel(x, y, hidden_layers=3, bias_variance=0.1, **settings)


EACH = [relu_kernel, erf_kernel, gelu_kernel, nngp, ntk]
ALL = pytest.mark.parametrize("kernel", EACH, ids=lambda kernel: kernel.__name__)


def inputs(n, D=4, seed=0):
    """Rows of several lengths, the last of them minus the first."""
    x_NxD = np.random.default_rng(seed).normal(size=(n, D)) * np.linspace(0.3, 2, n)[:, None]
    x_NxD[-1] = -x_NxD[0]
    return x_NxD.astype(np.float32)


def extended(x_NxD, bias):
    """(x, b), in NumPy: JAX would compile each operation."""
    return np.pad(x_NxD, ((0, 0), (0, 1)), constant_values=bias) if bias else x_NxD


def relu_feature(omega, x):
    return jax.nn.relu(jnp.dot(omega, x) / math.sqrt(x.shape[0]))


def test_the_layer_of_finite_width_converges_to_it():
    # With M_he = g_h(y_e), the layer computes (1/H) Σ_h g_h(y_e) g_h(x): its empirical kernel.
    from flax import nnx

    H, D = 2**12, 4
    mlp = FeatureMLP(D, H, bias=0.7, rngs=nnx.Rngs(4))
    x_NxD, y_DxD = inputs(7, D), inputs(D, D, seed=1)
    z_HxD = np.asarray(mlp.omega_Hxd[...]) @ extended(y_DxD, 0.7).T / math.sqrt(D + 1)
    mlp.m_HxE[...] = jnp.asarray(np.maximum(z_HxD, 0))
    exact_DxN = relu_kernel(y_DxD, x_NxD, bias=0.7)
    # The standard error is at most √(E[g⁴]/H) = √(3/2) q/√H, q = |x̃|²/d the largest variance.
    q = np.square(extended(x_NxD, 0.7)).sum(axis=1).max() / (D + 1)
    np.testing.assert_allclose(mlp(x_NxD.T), exact_DxN, atol=4 * math.sqrt(1.5 / H) * q)


def test_monte_carlo_draws_the_features_of_the_layer():
    x_NxD, key, H = inputs(4), jax.random.key(6), 2**12
    omega_Hxd = np.asarray(draw_features(key, H, 5))
    g_NxH = np.maximum(extended(x_NxD, 0.7) @ omega_Hxd.T / math.sqrt(5), 0)
    estimate = monte_carlo_kernel(relu_feature, key, H, x_NxD, x_NxD, bias=0.7, block=1000)
    np.testing.assert_allclose(estimate, g_NxH @ g_NxH.T / H, rtol=1e-5, atol=1e-6)


def test_monte_carlo_takes_any_distribution_over_any_tree():
    # Random Fourier features of a Gaussian kernel (Rahimi & Recht, 2007), which has no ReLU in it.
    def draw(key):
        keys = jax.random.split(key)
        phase = jax.random.uniform(keys[1], maxval=2 * jnp.pi)
        return {"frequency": jax.random.normal(keys[0], (4,)), "phase": phase}

    def cosine(omega, x):
        return math.sqrt(2) * jnp.cos(jnp.dot(omega["frequency"], x) + omega["phase"])

    x_NxD, y_MxD = inputs(3), inputs(5, seed=1)
    key, samples = jax.random.key(0), 20_000
    estimate = monte_carlo_kernel(cosine, key, samples, x_NxD, y_MxD, draw=draw, block=2000)
    distance_NxM = np.square(x_NxD[:, None] - y_MxD[None]).sum(axis=2)
    # Products of two features are at most 2, with a variance of at most 1.5.
    tolerance = 4.5 * math.sqrt(1.5 / samples)
    np.testing.assert_allclose(estimate, np.exp(-distance_NxM / 2), atol=tolerance)


WITH_BIAS = (normalized_relu_kernel, shifted_relu_kernel)


@pytest.mark.parametrize("kernel", [*EACH, *(partial(kernel, bias=0.7) for kernel in WITH_BIAS)])
def test_is_symmetric_and_positive_semidefinite(kernel):
    # Nine inputs twice, and 0: nine eigenvalues are 0 but for rounding.
    x_NxD = np.concatenate([inputs(9), inputs(9), np.zeros((1, 4), np.float32)])
    theta_NxN = np.asarray(kernel(x_NxD, x_NxD), np.float64)
    np.testing.assert_allclose(theta_NxN, theta_NxN.T, rtol=0, atol=1e-6 * theta_NxN.max())
    eigenvalues = np.linalg.eigvalsh((theta_NxN + theta_NxN.T) / 2)
    assert np.max(np.abs(eigenvalues[:9])) < 1e-6 * eigenvalues[-1]


@ALL
def test_rows_are_independent_under_vmap_and_nan(kernel):
    x_NxD, y_MxD = inputs(5), inputs(3, seed=1)
    theta_NxM = kernel(x_NxD, y_MxD, bias=0.5)
    by_row = jax.vmap(lambda x: kernel(x[None], y_MxD, bias=0.5)[0])
    np.testing.assert_allclose(by_row(x_NxD), theta_NxM, rtol=1e-5, atol=1e-6)
    x_NxD[1, 2] = math.nan
    damaged_NxM = kernel(x_NxD, y_MxD, bias=0.5)
    assert np.isnan(damaged_NxM[1]).all()
    np.testing.assert_array_equal(np.delete(damaged_NxM, 1, 0), np.delete(theta_NxM, 1, 0))


@ALL
def test_bias_is_an_appended_coordinate(kernel):
    x_NxD, y_MxD = inputs(5), inputs(3, seed=1)
    appended_NxM = kernel(extended(x_NxD, 0.5), extended(y_MxD, 0.5))
    np.testing.assert_allclose(kernel(x_NxD, y_MxD, bias=0.5), appended_NxM, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel", [relu_kernel, ntk])
@pytest.mark.parametrize(("n", "m"), [(0, 3), (1, 1), (1, 0)])
def test_few_inputs(kernel, n, m):
    assert kernel(np.ones((n, 2)), np.ones((m, 2))).shape == (n, m)


def test_half_precision_and_integers_are_computed_in_float32():
    x_NxD = np.array([[1, 2], [3, -4]])
    expected = relu_kernel(x_NxD.astype(np.float32), x_NxD.astype(np.float32))
    for dtype in (jnp.bfloat16, jnp.int32):
        value = relu_kernel(x_NxD.astype(dtype), x_NxD.astype(dtype))
        assert value.dtype == jnp.float32
        np.testing.assert_array_equal(value, expected)


@ALL
@pytest.mark.parametrize(
    ("x", "y", "bias", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), 0.0, "differ in dimension: 3 in x and 4 in y"),
        (np.ones(3), np.ones((2, 3)), 0.0, r"shapes \(3,\) and \(2, 3\)"),
        (np.ones((2, 0)), np.ones((2, 0)), 0.0, "dimension 0"),
        (np.ones((2, 3), complex), np.ones((2, 3)), 0.0, "inputs are real; got complex64 and"),
        (np.ones((2, 3)), np.ones((2, 3), complex), 0.0, "inputs are real; got float32 and comp"),
        (np.ones((2, 3)), np.ones((2, 3)), -1.0, "bias .* got -1.0"),
        (np.ones((2, 3)), np.ones((2, 3)), math.nan, "bias .* got nan"),
    ],
)
def test_bad_input_is_named(kernel, x, y, bias, message):
    with pytest.raises(ValueError, match=message):
        kernel(x, y, bias=bias)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_layers": 0}, "hidden_layers .* got 0"),
        ({"hidden_layers": 1, "weight_variance": 0.0}, "weight_variance .* got 0.0"),
        ({"hidden_layers": 1, "bias_variance": -0.1}, "bias_variance .* got -0.1"),
    ],
)
def test_bad_networks_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        ntk_kernel(np.ones((2, 3)), np.ones((2, 3)), **settings)


def test_bad_monte_carlo_settings_are_named():
    x_NxD, key = jnp.ones((2, 3)), jax.random.key(0)
    for settings, message in (
        ({"samples": 0}, "samples must be at least 1; got 0"),
        ({"samples": 4, "block": 0}, "block must be at least 1; got 0"),
        ({"samples": 4.5}, "samples must be an integer; got 4.5"),
        ({"samples": 4, "block": 2.0}, "block must be an integer; got 2.0"),
    ):
        with pytest.raises(ValueError, match=message):
            monte_carlo_kernel(jnp.dot, key, x_NxD=x_NxD, y_MxD=x_NxD, **settings)
    with pytest.raises(ValueError, match="one number for one ω"):
        monte_carlo_kernel(jnp.multiply, key, 4, x_NxD, x_NxD)
