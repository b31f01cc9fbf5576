# SPDX-License-Identifier: Apache-2.0
"""Inputs of norms from 1e-30 to 1e25 in float32, against float64, whose range they do not strain.

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
