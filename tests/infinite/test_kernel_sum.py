# SPDX-License-Identifier: Apache-2.0
"""Σ_i c_i Θ(x, x_i) in blocks: against the dense form, finite differences, and in little memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infwidth.infinite import support as support_module
from infwidth.infinite.kernel_sum import kernel_sum
from infwidth.infinite.support import Support, block_shape, one_step
from infwidth.kernels import relu_kernel

D, E, N, STEPS = 6, 3, 13, 4
BIAS = 1.5


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    # 13 inputs make three blocks of 5, the last of them not full.
    monkeypatch.setattr(support_module, "BLOCK_ON_CPU", 5)


def _problem(seed=0, steps=STEPS, room=6, dtype=np.float64):
    """A support of some steps in a larger room, and the same as plain arrays."""
    random = np.random.default_rng(seed)
    x_SxDxN = random.normal(size=(steps, D, N)).astype(dtype)
    delta_SxExN = random.normal(size=(steps, E, N)).astype(dtype)
    q_SxE = random.normal(size=(steps, E)).astype(dtype)
    each = [
        one_step(jnp.asarray(x), jnp.asarray(d), BIAS)
        for x, d in zip(x_SxDxN, delta_SxExN, strict=True)
    ]
    blocks = each[0].direction_BxKxd.shape[0]

    def with_room(parts, rows):
        whole = jnp.concatenate(parts)
        return jnp.pad(whole, ((0, rows), *((0, 0),) * (whole.ndim - 1)))

    support = Support(
        with_room([s.direction_BxKxd for s in each], (room - steps) * blocks),
        with_room([s.error_BxExK for s in each], (room - steps) * blocks),
        with_room([jnp.asarray(q_SxE)], room - steps),
        jnp.asarray(steps, jnp.int32),
    )
    c_ExT = np.concatenate(list(-delta_SxExN * q_SxE[:, :, None]), axis=1)
    seen_DxT = np.concatenate(list(x_SxDxN), axis=1)
    return support, jnp.asarray(seen_DxT), jnp.asarray(c_ExT)


def _dense(x_DxN, seen_DxT, c_ExT, bias=BIAS):
    return c_ExT @ relu_kernel(seen_DxT.T, x_DxN.T, bias=bias)


def _queries(seen_DxT, seed=1):
    """Inputs of which some are copies of inputs seen, and some their opposites."""
    x_DxN = jnp.asarray(np.random.default_rng(seed).normal(size=(D, N)), seen_DxT.dtype)
    return x_DxN.at[:, :3].set(seen_DxT[:, 5:8]).at[:, 3].set(-seen_DxT[:, 0])


@pytest.mark.parametrize("block", [1, 5, 64])
def test_it_is_the_dense_product_whatever_the_blocks(block, monkeypatch):
    monkeypatch.setattr(support_module, "BLOCK_ON_CPU", block)
    with jax.enable_x64(True):
        support, seen_DxT, c_ExT = _problem()
        x_DxN = _queries(seen_DxT)
        np.testing.assert_allclose(
            kernel_sum(x_DxN, support, BIAS), _dense(x_DxN, seen_DxT, c_ExT), rtol=0, atol=1e-13
        )


def test_gradients_are_those_of_the_dense_form():
    with jax.enable_x64(True):
        support, seen_DxT, c_ExT = _problem()
        x_DxN = _queries(seen_DxT)
        g_ExN = jnp.asarray(np.random.default_rng(2).normal(size=(E, N)))
        ours_DxN = jax.grad(lambda x: jnp.sum(g_ExN * kernel_sum(x, support, BIAS)))(x_DxN)
        dense_DxN = jax.grad(lambda x: jnp.sum(g_ExN * _dense(x, seen_DxT, c_ExT)))(x_DxN)
        # At copies an angle is known to √ε = 1e-8, but its error lies along x, where it drops out.
        np.testing.assert_allclose(ours_DxN, dense_DxN, rtol=0, atol=1e-12)


def test_float32_is_as_exact_as_float32_can_be():
    support, seen_DxT, c_ExT = _problem(dtype=np.float32)
    x_DxN = _queries(seen_DxT)
    g_ExN = jnp.ones((E, N), jnp.float32)
    f_ExN, pull = jax.vjp(lambda x: kernel_sum(x, support, BIAS), x_DxN)
    with jax.enable_x64(True):
        exact = [jnp.asarray(np.asarray(a, np.float64)) for a in (x_DxN, seen_DxT, c_ExT)]
        dense_ExN, dense_pull = jax.vjp(lambda x: _dense(x, *exact[1:]), exact[0])
        (dense_DxN,) = dense_pull(jnp.ones((E, N)))
    assert f_ExN.dtype == jnp.float32
    # 52 terms of size about 1, each with a few roundings of 6e-8.
    np.testing.assert_allclose(f_ExN, dense_ExN, rtol=0, atol=5e-6)
    np.testing.assert_allclose(pull(g_ExN)[0], dense_DxN, rtol=0, atol=5e-6)


@pytest.mark.parametrize("bias", [0.0, BIAS])
def test_zero_and_repeated_inputs_give_finite_values_and_gradients(bias):
    x_DxN = jnp.zeros((D, N)).at[:, 3:].set(1.0).at[:, 7:].set(-1e-30)
    support = one_step(x_DxN, jnp.ones((E, N)), bias)
    f_ExN, pull = jax.vjp(lambda x: kernel_sum(x, support, bias), x_DxN)
    (gradient_DxN,) = pull(jnp.ones((E, N)))
    assert bool(jnp.isfinite(f_ExN).all() & jnp.isfinite(gradient_DxN).all())
    if bias == 0:
        np.testing.assert_array_equal(f_ExN[:, :3], 0)
        np.testing.assert_array_equal(gradient_DxN[:, :3], 0)


def test_room_that_is_not_in_use_changes_no_bit():
    (tight, seen_DxT, _), (wide, _, _) = _problem(room=STEPS), _problem(room=64)
    x_DxN = _queries(seen_DxT)
    for f in (lambda s: kernel_sum(x_DxN, s, BIAS), lambda s: _pulled(x_DxN, s)):
        np.testing.assert_array_equal(f(tight), f(wide))


def _pulled(x_DxN, support):
    return jax.grad(lambda x: jnp.sum(kernel_sum(x, support, BIAS)))(x_DxN)


def test_the_gradient_flows_to_the_inputs_alone():
    support, seen_DxT, _ = _problem(dtype=np.float32)
    x_DxN = _queries(seen_DxT)

    def loss(error_BxExK):
        return jnp.sum(kernel_sum(x_DxN, support._replace(error_BxExK=error_BxExK), BIAS))

    assert not jax.grad(loss)(support.error_BxExK).any()


def test_peak_memory_does_not_grow_with_inputs_times_support(monkeypatch):
    monkeypatch.setattr(support_module, "BLOCK_ON_CPU", 64)
    N = 256

    def temporaries(steps):
        blocks, K = block_shape(N)
        shapes = Support(
            jax.ShapeDtypeStruct((steps * blocks, K, D + 1), jnp.float32),
            jax.ShapeDtypeStruct((steps * blocks, E, K), jnp.float32),
            jax.ShapeDtypeStruct((steps, E), jnp.float32),
            jax.ShapeDtypeStruct((), jnp.int32),
        )
        x_DxN = jax.ShapeDtypeStruct((D, N), jnp.float32)
        compiled = jax.jit(_pulled).lower(x_DxN, shapes).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    few, many = temporaries(64), temporaries(4096)
    matrix = 4 * N * 4096 * N
    assert many < few + 4096
    assert many < matrix / 1000
