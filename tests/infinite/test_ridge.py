# SPDX-License-Identifier: Apache-2.0
"""Ridge regression and its variance: against NumPy, and where training ends.

Shapes: N examples, M other inputs, E outputs.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infwidth import infinite
from infwidth.kernels import relu_kernel

KERNEL = partial(relu_kernel, bias=1.0)
RNG = np.random.default_rng(0)
X_NxD, Y_MxD = RNG.normal(size=(30, 3)), RNG.normal(size=(7, 3))
TARGET_NxE = np.sin(X_NxD[:, :2]) + 0.1 * RNG.normal(size=(30, 2))


def gaussian(x_NxD, y_MxD):
    square_NxM = jnp.sum(jnp.square(x_NxD[:, None] - y_MxD[None]), axis=2)
    return jnp.exp(-square_NxM / 2)


def solved(kernel, ridge, **options):
    """The readout, the solution, and mean and variance at Y_MxD."""
    readout = infinite.Readout(kernel, X_NxD, 2, **options)
    solution = infinite.solve(readout, TARGET_NxE, ridge)
    mean_MxE = np.asarray(readout(solution.coefficients_NxE, Y_MxD))
    return readout, solution, mean_MxE, infinite.posterior_variance(readout, solution, Y_MxD)


@pytest.mark.parametrize("block", [3, 1024])
def test_it_is_the_linear_system_of_the_kernel_matrix(block):
    with jax.enable_x64(True):
        _, solution, mean_MxE, variance_M = solved(KERNEL, 0.01, block=block)
        theta_AxA = np.asarray(KERNEL(*[np.concatenate([X_NxD, Y_MxD])] * 2))
    theta_NxM, system_NxN = theta_AxA[:30, 30:], theta_AxA[:30, :30] + 0.01 * np.eye(30)
    assert float(solution.ridge) == 0.01
    c_NxE = np.linalg.solve(system_NxN, TARGET_NxE)
    np.testing.assert_allclose(solution.coefficients_NxE, c_NxE, rtol=1e-9)
    np.testing.assert_allclose(mean_MxE, theta_NxM.T @ c_NxE, rtol=1e-9, atol=1e-12)
    known_M = np.sum(theta_NxM * np.linalg.solve(system_NxN, theta_NxM), axis=0)
    np.testing.assert_allclose(variance_M, np.diag(theta_AxA)[30:] - known_M, rtol=1e-9)


@pytest.mark.parametrize(
    ("dtype", "count"), [(np.float32, 30), (np.float64, 30), (np.float32, 1500)]
)
def test_no_ridge_is_the_least_that_rounding_allows(dtype, count):
    # Every example stands there twice, so that Θ is singular.
    rng = np.random.default_rng(1)
    x_NxD = np.concatenate([rng.normal(size=(count // 2, 3))] * 2)
    target_Nx1 = np.sin(x_NxD[:, :1])
    with jax.enable_x64(True):
        theta_NxN = np.asarray(KERNEL(x_NxD, x_NxD))
    with jax.enable_x64(dtype is np.float64):
        readout = infinite.Readout(KERNEL, x_NxD.astype(dtype), 1)
        solution = infinite.solve(readout, target_Nx1)
        f_Nx1 = np.asarray(readout(solution.coefficients_NxE))
        variance_N = np.asarray(infinite.posterior_variance(readout, solution, x_NxD))
    ridge = float(solution.ridge)
    assert 0 < ridge <= 10 * np.finfo(dtype).eps * np.trace(theta_NxN)
    exact_Nx1 = theta_NxN @ np.linalg.solve(theta_NxN + ridge * np.eye(count), target_Nx1)
    # Rounding adds less than a tenth of what the ridge itself leaves out.
    assert np.abs(f_Nx1 - exact_Nx1).max() < 0.1 * np.abs(exact_Nx1 - target_Nx1).max()
    assert 0 <= variance_N.min() <= variance_N.max() < 0.01 * np.trace(theta_NxN) / count


def test_more_examples_leave_less_open():
    readout, solution, _, variance_M = solved(KERNEL, 0.01)
    fewer = infinite.Readout(KERNEL, X_NxD[:10], 2)
    before_M = infinite.posterior_variance(
        fewer, infinite.solve(fewer, TARGET_NxE[:10], 0.01), Y_MxD
    )
    prior_M = np.diag(KERNEL(Y_MxD, Y_MxD))
    assert (variance_M < before_M).all()
    assert (before_M < prior_M).all()
    assert infinite.posterior_variance(readout, solution, Y_MxD[:0]).shape == (0,)


def test_training_ends_there():
    def half_square(f_KxE, target_KxE):
        return jnp.mean(jnp.sum(jnp.square(f_KxE - target_KxE), axis=1)) / 2

    every_SxK = np.tile(np.arange(30), (300, 1))
    with jax.enable_x64(True):
        readout, _, expected_MxE, _ = solved(gaussian, 0.0)
        solver = infinite.eigenpro(1.0, readout, components=29)
        state, _ = readout.train(solver, half_square, TARGET_NxE, every_SxK)
        found_MxE = readout(state.coefficients_NxE, Y_MxD)
    np.testing.assert_allclose(found_MxE, expected_MxE, atol=1e-5)


def changed(place, value):
    target_NxE = TARGET_NxE.copy()
    target_NxE[place] = value
    return target_NxE


@pytest.mark.parametrize(
    ("kernel", "targets", "ridge", "options", "line"),
    [
        (KERNEL, TARGET_NxE[:5], 0.1, {}, r"targets must have shape \(30, 2\); got \(5, 2\)"),
        (KERNEL, TARGET_NxE[:, 0], 0.1, {}, r"targets must have shape \(30, 2\); got \(30,\)"),
        (KERNEL, changed(4, np.nan), 0.1, {}, "target 4 holds a number that is not finite"),
        (KERNEL, TARGET_NxE, -0.1, {}, "ridge must be at least 0; got -0.1"),
        (KERNEL, TARGET_NxE, np.nan, {}, "ridge must be at least 0; got nan"),
        (KERNEL, TARGET_NxE, 0.1, {"gram_limit": 0}, "needs the kernel matrix, .*: raise gram_lim"),
        (lambda x, y: -x @ y.T, TARGET_NxE, 0.1, {}, "not positive definite at λ = 0.1: raise"),
    ],
)
def test_what_cannot_be_solved_is_refused_in_a_line(kernel, targets, ridge, options, line):
    readout = infinite.Readout(kernel, X_NxD, 2, **options)
    with pytest.raises(ValueError, match=line):
        infinite.solve(readout, targets, ridge)


@pytest.mark.parametrize(
    ("inputs", "line"),
    [(Y_MxD[0], "must have dimension 3"), (changed(2, np.inf)[:, [0, 1, 1]], "input 2 holds")],
)
def test_bad_inputs_are_refused(inputs, line):
    readout, solution, _, _ = solved(KERNEL, 0.1)
    with pytest.raises(ValueError, match=line):
        infinite.posterior_variance(readout, solution, inputs)
