# SPDX-License-Identifier: Apache-2.0
"""Hyperparameters as arrays: values, gradients and batches are those of the numbers.

Shapes: N and M inputs of dimension D.
"""

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

D = 3
X_NxD, Y_MxD = (np.random.default_rng(0).normal(size=(n, D)) for n in (4, 3))
# Equal, opposite and zero inputs are where angles end.
Y_MxD = np.concatenate([Y_MxD, X_NxD[:1], -X_NxD[:1], np.zeros((1, D))])


def monte_carlo(x_NxD, y_MxD, *, bias):
    def feature(omega_d, x_d):
        return jnp.tanh(jnp.dot(omega_d, x_d))

    return monte_carlo_kernel(feature, jax.random.key(0), 16, x_NxD, y_MxD, bias=bias)


DEEP = {"weight_variance": 1.6, "bias_variance": 0.3, "bias": 0.8}
CASES = [
    *((kernel, {"bias": 0.8}) for kernel in (relu_kernel, erf_kernel, gelu_kernel, monte_carlo)),
    (normalized_relu_kernel, {"bias": 0.8}),
    (shifted_relu_kernel, {"bias": 0.8, "shift": -0.6}),
    (partial(nngp_kernel, hidden_layers=2), DEEP),
    (partial(ntk_kernel, hidden_layers=2), DEEP),
]
EACH = [(kernel, settings, name) for kernel, settings in CASES for name in settings]


def name_of(value):
    return getattr(getattr(value, "func", value), "__name__", None)


OF_EACH = pytest.mark.parametrize(("kernel", "settings", "name"), EACH, ids=name_of)


def along(kernel, settings, name):
    """The kernel matrix as a function of one hyperparameter."""
    return lambda value: kernel(X_NxD, Y_MxD, **settings | {name: value})


@OF_EACH
def test_an_array_gives_the_values_of_the_number(kernel, settings, name):
    of = along(kernel, settings, name)
    found_NxM, expected_NxM = of(jnp.float32(settings[name])), of(settings[name])
    assert found_NxM.dtype == expected_NxM.dtype == np.float32
    # 12 layers of roundings at most; the NTK has a cone at equal and opposite inputs.
    tolerance = 30 * np.finfo(np.float32).eps * np.max(np.abs(expected_NxM))
    np.testing.assert_allclose(found_NxM, expected_NxM, atol=tolerance)


@pytest.mark.parametrize(("kernel", "settings"), CASES, ids=name_of)
def test_the_gradient_is_the_slope(kernel, settings):
    weight_NxM = np.random.default_rng(1).normal(size=(len(X_NxD), len(Y_MxD)))
    with jax.enable_x64(True):
        weighted = jax.jit(
            jax.value_and_grad(
                lambda settings: jnp.vdot(weight_NxM, kernel(X_NxD, Y_MxD, **settings))
            )
        )
        total, gradient = weighted(settings)
        assert total.dtype == np.float64
        # With numbers, of which each value is a program of its own.
        assert float(total) == pytest.approx(
            np.vdot(weight_NxM, kernel(X_NxD, Y_MxD, **settings)), rel=1e-9, abs=1e-12
        )
        step = 1e-5
        for name, value in settings.items():
            up, down = (float(weighted(settings | {name: value + s})[0]) for s in (step, -step))
            slope = (up - down) / (2 * step)
            assert float(gradient[name]) == pytest.approx(slope, rel=1e-7, abs=1e-9), name


@pytest.mark.parametrize(("kernel", "settings"), CASES, ids=name_of)
def test_several_values_are_a_batch(kernel, settings):
    of, values_B = along(kernel, settings, "bias"), jnp.array([0.5, 1.0, 2.5])
    found_BxNxM = jax.jit(jax.vmap(of))(values_B)
    for found_NxM, value in zip(found_BxNxM, values_B, strict=True):
        np.testing.assert_allclose(found_NxM, of(value), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel", [nngp_kernel, ntk_kernel])
def test_the_slope_at_no_bias_is_that_from_above(kernel):
    with jax.enable_x64(True):
        # Not at opposite inputs, where both grow as the root.
        y_MxD = Y_MxD[:4]

        def of(variance):
            return kernel(X_NxD, y_MxD, hidden_layers=2, bias_variance=variance)

        at_0_NxM, slope_NxM = jax.jvp(of, (0.0,), (1.0,))
        step = 1e-7
        difference_NxM = np.asarray(of(step)) - np.asarray(of(0.0))
    np.testing.assert_allclose(at_0_NxM, of(0.0), rtol=2e-6)
    np.testing.assert_allclose(slope_NxM, difference_NxM / step, rtol=1e-3)


def test_an_array_always_appends_a_constant_and_0_is_the_limit():
    with jax.enable_x64(True):
        x_NxD, y_MxD = X_NxD[:2], Y_MxD[:3]
        limit_NxM = np.asarray(relu_kernel(x_NxD, y_MxD, bias=1e-9))
        found_NxM, slope_NxM = jax.jvp(
            lambda bias: relu_kernel(x_NxD, y_MxD, bias=bias), (0.0,), (1.0,)
        )
        plain_NxM = np.asarray(relu_kernel(x_NxD, y_MxD))
    np.testing.assert_allclose(found_NxM, limit_NxM, rtol=1e-8)
    np.testing.assert_allclose(found_NxM, plain_NxM * D / (D + 1), rtol=1e-12)
    np.testing.assert_array_equal(slope_NxM, 0)  # it is even in b


def test_a_hyperparameter_that_changes_is_not_compiled_for_anew():
    of = along(relu_kernel, {}, "bias")
    of(jnp.float32(0.1))
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if "compile" in event else None
    )
    for bias in (0.2, 0.3):
        of(jnp.float32(bias)).block_until_ready()
    assert not compiled


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"bias": jnp.ones(2)}, r"bias is one number; got shape \(2,\): use jax.vmap"),
        ({"bias": np.ones((1, 1))}, r"bias is one number; got shape \(1, 1\)"),
        ({"bias": 1j}, "bias is a real number; got 1j"),
        ({"bias": jnp.complex64(1j)}, "bias is a real number"),
        ({"bias": None}, "bias is a real number; got None"),
        ({"weight_variance": "2"}, "weight_variance is a real number; got 2"),
        ({"hidden_layers": jnp.int32(2)}, "hidden_layers must be an integer of at least 1"),
        ({"hidden_layers": 2.0}, "hidden_layers must be an integer of at least 1; got 2.0"),
    ],
)
def test_what_is_no_number_is_refused_in_a_line(settings, line):
    with pytest.raises(ValueError, match=line):
        ntk_kernel(X_NxD, Y_MxD, **{"hidden_layers": 1} | settings)
