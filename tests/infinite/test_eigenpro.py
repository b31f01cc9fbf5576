# SPDX-License-Identifier: Apache-2.0
"""EigenPro: a subsample's eigenfunctions, a stable unit, kernels of low rank, what is refused.

That it is its namesake in parameter space is in test_rules.

Shapes: N examples, S of them in a subsample, H features, E outputs, K a batch.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infwidth import infinite
from infwidth.kernels import relu_kernel
from tests.infinite.parameter_space import preconditioned

RNG = np.random.default_rng(0)
X_NxD = RNG.normal(size=(60, 3))
TARGET_NxE = np.sin(2 * X_NxD[:, :2])
KERNEL = partial(relu_kernel, bias=1.0)


def half_square(f_KxE, target_KxE):
    return jnp.mean(jnp.sum(jnp.square(f_KxE - target_KxE), axis=1)) / 2


def trained(readout, solver, batch_SxK):
    state, losses_S = readout.train(solver, half_square, TARGET_NxE, batch_SxK)
    return half_square(readout(state.coefficients_NxE), TARGET_NxE), losses_S


def test_a_step_is_that_of_the_subsample_s_eigenfunctions():
    omega_DxH = RNG.normal(size=(3, 11))
    g_NxH = np.maximum(X_NxD @ omega_DxH, 0)
    delta_KxE, index_K = RNG.normal(size=(4, 2)), np.array([3, 50, 3, 7])
    with jax.enable_x64(True):

        def kernel(x_NxD, y_MxD):
            g_x, g_y = (jax.nn.relu(z @ omega_DxH) for z in (x_NxD, y_MxD))
            return g_x @ g_y.T / 11

        readout = infinite.Readout(kernel, X_NxD, 2)
        rule = infinite.scale_by_eigenpro(readout, 4, subsample=25, seed=1)
        c_NxE = jnp.zeros((60, 2))
        state = rule.init(c_NxE)
        theta_KxN = readout.gram_NxN[index_K]
        gradient = infinite.FunctionalGradient(
            jnp.asarray(delta_KxE), jnp.asarray(index_K), theta_KxN[:, index_K], theta_KxN
        )
        step_NxE, _ = rule.update(gradient, state, c_NxE)
    index_S = np.asarray(state.index_S)
    assert len(set(index_S.tolist())) == 25
    expected_HxE = preconditioned(g_NxH[index_K].T @ delta_KxE, g_NxH[index_S], 4, batch=4)
    step_HxE = g_NxH.T @ np.asarray(step_NxE)
    np.testing.assert_allclose(step_HxE, expected_HxE, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("batch", [1, 8, 60])
@pytest.mark.parametrize("kernel", [KERNEL, lambda x, y: x @ y.T], ids=["relu", "linear"])
def test_a_rate_of_1_is_stable_at_every_batch_size(batch, kernel):
    readout = infinite.Readout(kernel, X_NxD, 2)
    solver = infinite.eigenpro(1.0, readout, components=20)
    batch_SxK = np.random.default_rng(1).integers(60, size=(6000 // batch, batch))
    loss, losses_S = trained(readout, solver, batch_SxK)
    assert np.isfinite(losses_S).all()
    assert loss < half_square(0, TARGET_NxE)


def test_it_learns_in_a_few_steps_what_takes_sgd_thousands():
    readout = infinite.Readout(KERNEL, X_NxD, 2)
    every_SxK = np.tile(np.arange(60), (20, 1))
    loss, _ = trained(readout, infinite.eigenpro(1.0, readout, components=30), every_SxK)
    # 60 examples, a mean loss: 2 · 60 / the largest eigenvalue is where SGD diverges.
    largest = float(jnp.linalg.eigvalsh(readout.gram_NxN)[-1])
    of_sgd = [
        trained(readout, infinite.sgd(share * 60 / largest), every_SxK)[0] for share in (1.0, 1.9)
    ]
    assert loss < 0.2 * min(of_sgd)
    assert not trained(readout, infinite.sgd(2.5 * 60 / largest), every_SxK)[0] < 10


@pytest.mark.parametrize(
    ("kernel", "options", "line"),
    [
        (KERNEL, {"components": 0}, "components must be at least 1; got 0"),
        (KERNEL, {"subsample": 0}, "subsample must be at least 1; got 0"),
        (lambda x, y: 0 * x @ y.T, {}, "the kernel is 0 at all examples"),
    ],
)
def test_what_cannot_be_preconditioned_is_refused(kernel, options, line):
    with pytest.raises(ValueError, match=line):
        infinite.eigenpro(1.0, infinite.Readout(kernel, X_NxD, 2), **options)


@pytest.mark.parametrize("missing", ["theta_KxN", "coefficients"])
def test_what_it_needs_is_named(missing):
    rule = infinite.scale_by_eigenpro(infinite.Readout(KERNEL, X_NxD, 2))
    c_NxE = jnp.zeros((60, 2))
    theta_KxN = None if missing == "theta_KxN" else jnp.ones((3, 60))
    gradient = infinite.FunctionalGradient(jnp.ones((3, 2)), jnp.arange(3), jnp.eye(3), theta_KxN)
    with pytest.raises(ValueError, match="give FunctionalGradient its theta_KxN, and update"):
        rule.update(gradient, rule.init(c_NxE), None if missing == "coefficients" else c_NxE)
