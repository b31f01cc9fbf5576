# SPDX-License-Identifier: Apache-2.0
"""Values and gradients to a few roundings at x = y, x = −y, next to these and at 0, float32 and 64.

Errors are measured against the size that the quantity has at y = x, in roundings ε of the type. At
norms from 1e-30 to 1e25 float32 is held against float64, whose range they do not strain.

Shapes: N inputs of dimension D.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infwidth.kernels import (
    erf_kernel,
    gelu_kernel,
    nngp_kernel,
    normalized_relu_kernel,
    ntk_kernel,
    relu_kernel,
    shifted_relu_kernel,
)
from tests.kernels.reference import Pairs, deep_values, hard_pairs, relu_gradients, relu_values

TYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def of_pairs(kernel, pairs, **settings):
    value_PxP = kernel(jnp.asarray(pairs.x_Pxd), jnp.asarray(pairs.y_Pxd), **settings)
    assert value_PxP.dtype == pairs.x_Pxd.dtype
    return np.diagonal(np.asarray(value_PxP, np.float64))


def gradient_at(x_1xd, kernel):
    """Of the kernel's one value."""
    return jax.jit(jax.grad(lambda x: kernel(x)[0, 0]))(x_1xd)


@TYPES
def test_relu_values(dtype):
    pairs = hard_pairs(dtype)
    expected_P, size_P = relu_values(pairs)
    with jax.enable_x64(dtype is np.float64):
        error_P = np.abs(of_pairs(relu_kernel, pairs) - expected_P) / size_P
    assert error_P.max() < 5 * np.finfo(dtype).eps  # measured: 2.2 and 2.8


@TYPES
def test_relu_gradients_are_equation_6(dtype):
    pairs = hard_pairs(dtype)
    with jax.enable_x64(dtype is np.float64):
        of_both = jax.jit(jax.grad(lambda x, y: jnp.trace(relu_kernel(x, y)), argnums=(0, 1)))
        gradients = of_both(jnp.asarray(pairs.x_Pxd), jnp.asarray(pairs.y_Pxd))
    for gradient_Pxd, ordered in zip(gradients, (pairs, Pairs(*pairs[::-1])), strict=True):
        expected_Pxd, size_P = relu_gradients(ordered)
        error_P = np.linalg.norm(np.asarray(gradient_Pxd) - expected_Pxd, axis=1) / size_P
        assert error_P.max() < 7 * np.finfo(dtype).eps  # measured: 3.1 and 3.4


@TYPES
def test_deep_values(dtype):
    # The same recursion in covariances gives the NTK errors of 9e3 ε in float32, 2e8 ε in float64.
    hidden_layers = 3
    pairs = hard_pairs(dtype)
    k_P, ntk_P, size_P = deep_values(pairs, hidden_layers)
    with jax.enable_x64(dtype is np.float64):
        k_error_P = of_pairs(nngp_kernel, pairs, hidden_layers=hidden_layers) - k_P
        ntk_error_P = of_pairs(ntk_kernel, pairs, hidden_layers=hidden_layers) - ntk_P
    eps = np.finfo(dtype).eps
    assert np.max(np.abs(k_error_P) / size_P) < 5 * eps  # measured: 2.0 and 2.6
    assert np.max(np.abs(ntk_error_P) / size_P) < 12 * eps  # measured: 7.4 and 7.2


@pytest.mark.parametrize(
    ("kernel", "settings"),
    [
        (relu_kernel, {"bias": 0.5}),
        (erf_kernel, {"bias": 0.5}),
        (gelu_kernel, {"bias": 0.5}),
        (ntk_kernel, {"hidden_layers": 2, "bias_variance": 0.3, "bias": 0.5}),
        (normalized_relu_kernel, {"bias": 0.5}),
    ],
)
def test_gradients_are_limits_of_difference_quotients(kernel, settings):
    # Random directions, at angles of 0.3 and more, away from the cones of the NTK.
    rng = np.random.default_rng(3)
    x_NxD, y_MxD, direction_NxD = (rng.normal(size=(n, 4)) for n in (3, 5, 3))
    weights_NxM = rng.normal(size=(3, 5))
    step_NxD = 1e-5 * direction_NxD
    with jax.enable_x64(True):
        loss = jax.jit(
            jax.value_and_grad(lambda x: jnp.vdot(weights_NxM, kernel(x, y_MxD, **settings)))
        )
        slope = np.vdot(loss(x_NxD)[1], direction_NxD)
        quotient = (loss(x_NxD + step_NxD)[0] - loss(x_NxD - step_NxD)[0]) / 2e-5
    assert slope == pytest.approx(float(quotient), rel=1e-7, abs=1e-8)


@TYPES
@pytest.mark.parametrize(
    ("kernel", "settings"),
    [
        (erf_kernel, {}),
        (gelu_kernel, {}),
        (ntk_kernel, {"hidden_layers": 2}),
        (normalized_relu_kernel, {"bias": 0.5}),
    ],
)
def test_gradients_are_finite_in_all_corners(kernel, settings, dtype):
    pairs = hard_pairs(dtype)
    zero_1xd = np.zeros((1, pairs.x_Pxd.shape[1]), dtype)
    x_Pxd, y_Pxd = (np.concatenate([z, zero_1xd]) for z in pairs)
    with jax.enable_x64(dtype is np.float64):
        total = jax.jit(jax.grad(lambda x, y: jnp.sum(kernel(x, y, **settings)), argnums=(0, 1)))
        for gradient_Pxd in total(x_Pxd, y_Pxd):
            assert np.isfinite(gradient_Pxd).all()


@pytest.mark.parametrize(("hidden_layers", "bias_variance"), [(1, 0.0), (3, 0.3)])
def test_ntk_gradient_at_its_cone_is_that_of_the_smooth_part(hidden_layers, bias_variance):
    # Half the gradient of Θ^L(x, x) = (L + 1) 2|x|²/d + a constant. The two directions, computed
    # apart, may differ in their last digits, which must not count as an angle.
    x_1xd = jnp.array([[0.3, -1.2, 0.5]])
    settings = {"hidden_layers": hidden_layers, "bias_variance": bias_variance}
    gradient_1xd = gradient_at(x_1xd, lambda x: ntk_kernel(x, x_1xd, **settings))
    np.testing.assert_allclose(gradient_1xd, (hidden_layers + 1) * 2 / 3 * x_1xd, rtol=2e-6)


def test_mixed_second_derivative_at_equal_inputs():
    # ∂²Θ/∂x∂y = E[1{ω·x > 0} 1{ω·y > 0} ω ωᵀ]/d, which at y = x is I/(2d).
    x_d = jnp.array([0.3, -1.2, 0.5, 0.0])

    def theta(x, y):
        return relu_kernel(x[None, :], y[None, :])[0, 0]

    mixed_dxd = jax.jit(jax.jacfwd(jax.grad(theta, argnums=0), argnums=1))(x_d, x_d)
    np.testing.assert_allclose(mixed_dxd, np.eye(4) / 8, atol=1e-6)


def test_orthogonal_inputs_have_their_one_sided_gradients():
    # The formulas change at θ = π/2, where one-hot inputs lie: ∂Θ/∂x = (|y| x̂ + (π/2) y)/(2π d).
    x_1xd, y_1xd = jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]])
    gradient = gradient_at(x_1xd, lambda x: relu_kernel(x, y_1xd))
    np.testing.assert_allclose(gradient, [[1 / (4 * np.pi), 1 / 8]], rtol=1e-6)
    gradient = gradient_at(x_1xd, lambda x: ntk_kernel(x, y_1xd, hidden_layers=1))
    # K⁰ = 0 and K⁰' = y, so that Θ¹' = 2 · 2 ∂Θ/∂x + y/2, with w/d = 1.
    expected = [[1 / np.pi, 1 / 2 + 1 / 2]]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_zero_has_the_value_and_the_gradient_of_the_features():
    # With relu'(0) = 0 all features stand still at x = 0; erf and GELU do not.
    x_1xd, y_1xd = jnp.zeros((1, 2)), jnp.array([[0.6, -0.8]])
    assert relu_kernel(x_1xd, y_1xd)[0, 0] == 0
    assert not np.any(gradient_at(x_1xd, lambda x: relu_kernel(x, y_1xd)))
    erf_1xd = gradient_at(x_1xd, lambda x: erf_kernel(x, y_1xd))
    np.testing.assert_allclose(erf_1xd, 2 / np.pi / np.sqrt(2) * y_1xd, rtol=1e-6)
    # E[gelu'(0) ω gelu(ω·y)]/√d = E[gelu'(ω·y)] y/(2d) = y/(4d).
    gelu_1xd = gradient_at(x_1xd, lambda x: gelu_kernel(x, y_1xd))
    np.testing.assert_allclose(gelu_1xd, y_1xd / 8, rtol=1e-6)


DIRECTION_NxD = np.random.default_rng(0).normal(size=(4, 3))
DIRECTION_NxD = np.concatenate([DIRECTION_NxD, DIRECTION_NxD[:1], -DIRECTION_NxD[:1]])
KERNELS = {
    "relu": relu_kernel,
    "relu with bias": partial(relu_kernel, bias=0.7),
    "erf": erf_kernel,
    "erf with bias": partial(erf_kernel, bias=0.7),
    "gelu": gelu_kernel,
    "gelu with bias": partial(gelu_kernel, bias=0.7),
    "nngp": partial(nngp_kernel, hidden_layers=2),
    "ntk": partial(ntk_kernel, hidden_layers=2),
    "ntk with biases": partial(ntk_kernel, hidden_layers=2, bias_variance=0.3, bias=0.7),
    "normalized": partial(normalized_relu_kernel, bias=0.7),
    "shifted": partial(shifted_relu_kernel, bias=0.7),
}
SIZES = (1e-30, 1e-18, 1.0, 1e10, 1e25)


@pytest.mark.parametrize("name", KERNELS)
def test_values_are_those_of_float64(name):
    kernel = KERNELS[name]
    x_AxD = np.concatenate([size * DIRECTION_NxD for size in SIZES]).astype(np.float32)
    found_AxA = np.asarray(kernel(x_AxD, x_AxD), np.float64)
    with jax.enable_x64(True):
        wide_AxD = jnp.asarray(x_AxD, jnp.float64)
        expected_AxA = np.asarray(kernel(wide_AxD, wide_AxD))
        size_A = np.sqrt(np.diag(expected_AxA))
    # What float32 can hold: beyond, only erf promises anything, which is bounded.
    norm_A = np.linalg.norm(x_AxD.astype(np.float64), axis=1)
    held_AxA = (np.outer(norm_A, norm_A) < 1e37) | name.startswith("erf")
    # Measured: 5e-7; of erf at parallel inputs 2e-4, which its docstring bounds by √ε.
    tolerance = np.sqrt(np.finfo(np.float32).eps) if name.startswith("erf") else 1e-6
    assert np.isfinite(found_AxA[held_AxA]).all()
    allowed_AxA = tolerance * np.outer(size_A, size_A) + 1e-37
    assert (np.abs(found_AxA - expected_AxA) <= allowed_AxA)[held_AxA].all()


SIDES = [(1e-30, 1.0), (1e25, 1.0), (1.0, 1e25), (1e25, 1e-12), (1e-15, 1e-15), (1e18, 1e18)]


@pytest.mark.parametrize(("x_size", "y_size"), SIDES)
def test_gradients_of_relu_are_homogeneous(x_size, y_size):
    # Θ(s x, t y) = s t Θ(x, y) has the gradient t ∂Θ(x, y) in its first argument.
    x_NxD, y_NxD = (jnp.asarray(z, jnp.float32) for z in (DIRECTION_NxD, DIRECTION_NxD[::-1]))
    gradient = jax.grad(lambda x, y: jnp.sum(relu_kernel(x, y)))
    expected_NxD = np.asarray(gradient(x_NxD, y_NxD), np.float64)
    found_NxD = np.asarray(gradient(x_size * x_NxD, y_size * y_NxD), np.float64) / y_size
    np.testing.assert_allclose(found_NxD, expected_NxD, atol=3e-6)
