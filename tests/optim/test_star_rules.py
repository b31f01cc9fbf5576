# SPDX-License-Identifier: Apache-2.0
"""RMSprop*, Adagrad*, NAdam*, ADAM* uncorrected, Muon*: their arithmetic and what they equal."""

import doctest
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

import infwidth.optim.star_rules as module
from infwidth.optim import (
    scale_by_adagrad_star,
    scale_by_adam_star,
    scale_by_muon_star,
    scale_by_rms_star,
)
from tests.optim.oracle import StarRule
from tests.optim.test_adam_star import directions, eager_directions, gradient_sequence

B1, B2, EPS = 0.8, 0.95, 1e-3
RULES = {
    "rms_star": scale_by_rms_star(B2, EPS, bias_correction=True),
    "adagrad_star": scale_by_adagrad_star(eps=EPS),
    "nadam_star": scale_by_adam_star(B1, B2, EPS, nesterov=True),
    "uncorrected": scale_by_adam_star(B1, B2, EPS, bias_correction=False),
    "muon_star": scale_by_muon_star(B1, EPS),
}


@pytest.mark.parametrize("name", RULES)
def test_equals_the_float64_oracle(name):
    g_SxHxE = gradient_sequence((6, 4), steps=40)
    rule = StarRule(name, B1, B2, EPS)
    expected = [rule.direction(g_HxE) for g_HxE in g_SxHxE]
    with jax.enable_x64(True):
        found = directions(RULES[name], g_SxHxE)
    # 40 steps of O(1) arithmetic with errors of 1e-16. Muon's root multiplies those of S by at
    # most 1/ε = 1e3.
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


def at_width_one(transform):
    gradients = [jnp.asarray(g, jnp.float32) for g in gradient_sequence((1, 7), steps=50)]
    with jax.numpy_dtype_promotion("standard"):
        return eager_directions(transform, gradients)


def test_rms_star_is_rmsprop_at_width_one():
    original = optax.scale_by_rms(B2, EPS, eps_in_sqrt=False, bias_correction=True)
    # optax multiplies by 1/(√v̂ + ε), which rounds once more, 6e-8.
    np.testing.assert_allclose(
        at_width_one(scale_by_rms_star(B2, EPS, bias_correction=True)),
        at_width_one(original),
        rtol=3e-7,
    )


def test_adagrad_star_is_adagrad_at_width_one():
    original = optax.scale_by_rss(initial_accumulator_value=0.0, eps=0.0)
    # optax multiplies by an inverse root, which rounds otherwise.
    np.testing.assert_allclose(
        at_width_one(scale_by_adagrad_star(eps=0.0)), at_width_one(original), rtol=5e-7
    )


def test_nadam_star_is_nadam_at_width_one():
    original = optax.scale_by_adam(B1, B2, EPS, nesterov=True)
    np.testing.assert_array_equal(
        at_width_one(scale_by_adam_star(B1, B2, EPS, nesterov=True)), at_width_one(original)
    )


def test_without_correction_is_adam_star_times_its_corrections_in_reverse():
    g_SxHxE = gradient_sequence((6, 4), steps=30)
    with jax.enable_x64(True):
        corrected = directions(scale_by_adam_star(B1, B2, 0.0), g_SxHxE)
        found = directions(scale_by_adam_star(B1, B2, 0.0, bias_correction=False), g_SxHxE)
    steps_S = np.arange(1, 31)
    factor_S = (1 - B1**steps_S) / np.sqrt(1 - B2**steps_S)
    np.testing.assert_allclose(found, corrected * factor_S[:, None, None], rtol=1e-12)


FIRST_STEP = {
    "rms_star": (scale_by_rms_star(B2, bias_correction=True), 1.0),
    "adagrad_star": (scale_by_adagrad_star(), 1.0),
    "nadam_star": (scale_by_adam_star(B1, B2, nesterov=True), (1 + 2 * B1) / (1 + B1)),
    "uncorrected": (scale_by_adam_star(B1, B2, bias_correction=False), (1 - B1) / np.sqrt(1 - B2)),
}


@pytest.mark.parametrize("name", FIRST_STEP)
def test_the_first_step_of_each_output_has_the_size_that_is_said(name):
    rule, size = FIRST_STEP[name]
    (step_HxE,) = directions(rule, gradient_sequence((50, 4), steps=1).astype(np.float32))
    # 1 − β2 in float32 has a relative error of 6e-8 / 0.05, of which the root keeps half.
    np.testing.assert_allclose(np.sqrt(np.mean(step_HxE**2, axis=0)), size, rtol=2e-6)


def muon(g_HxE, eps, dtype=np.float64):
    with jax.enable_x64(dtype is np.float64):
        return directions(scale_by_muon_star(B1, eps), np.asarray([g_HxE], dtype))[0]


def test_muon_star_is_the_polar_factor_where_eps_vanishes():
    g_HxE = gradient_sequence((50, 4), steps=1)[0]
    left_HxE, _, right_ExE = np.linalg.svd(g_HxE, full_matrices=False)
    found_HxE = muon(g_HxE, eps=0.0)
    np.testing.assert_allclose(found_HxE, np.sqrt(50) * left_HxE @ right_ExE, rtol=1e-9, atol=1e-10)
    assert np.sum(np.mean(found_HxE**2, axis=0)) == pytest.approx(4, rel=1e-12)


def test_muon_star_shrinks_singular_values_as_is_said():
    size_E, eps = np.array([3.0, 1.0, 0.05, 0.0]), 1e-2
    rng = np.random.default_rng(0)
    left_HxE = np.linalg.qr(rng.normal(size=(30, 4)))[0]
    right_ExE = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    found_HxE = muon(np.sqrt(30) * left_HxE * size_E @ right_ExE.T, eps)
    shrunk_E = size_E / np.sqrt(size_E**2 + eps * np.mean(size_E**2))
    expected_HxE = np.sqrt(30) * left_HxE * shrunk_E @ right_ExE.T
    np.testing.assert_allclose(found_HxE, expected_HxE, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [1e-12, 1e6])
def test_muon_star_does_not_know_the_size_of_the_gradient(size):
    g_HxE = gradient_sequence((50, 4), steps=1)[0]
    # Float32: eigenvalues are off by 6e-8 of the largest, of which ε = 1e-4 lets 1e-3 through.
    np.testing.assert_allclose(
        muon(size * g_HxE, 1e-4, np.float32), muon(g_HxE, 1e-4, np.float32), rtol=1e-3, atol=1e-3
    )


def test_muon_star_in_float32_stands_a_momentum_of_rank_one():
    g_HxE = np.outer(gradient_sequence((50,), steps=1)[0], [1.0, 2.0, -2.0])
    found_HxE = muon(g_HxE, 1e-4, np.float32)
    # One singular value, √E in units of the root mean square: 1/√(1 + ε/E) is 1 − 2e-5.
    expected_HxE = np.sqrt(50) * g_HxE / np.linalg.norm(g_HxE)
    np.testing.assert_allclose(found_HxE, expected_HxE, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sizes", [[3.0, 1.0, 0.2], [1.0, 1.0, 0.5]])
def test_muon_star_has_derivatives_where_singular_values_coincide_too(sizes):
    left_HxE = np.linalg.qr(gradient_sequence((8, 3), steps=1)[0])[0]
    rule = scale_by_muon_star(B1, 1e-2)
    with jax.enable_x64(True):
        g_HxE = jnp.asarray(left_HxE * np.array(sizes))
        check_grads(lambda g: rule.update(g, rule.init(g))[0], (g_HxE,), order=1, rtol=1e-6)


@pytest.mark.parametrize("name", ["nadam_star", "muon_star"])
def test_units_do_not_notice_copies_of_themselves(name):
    g_SxHxE = gradient_sequence((6, 4), steps=10, seed=1)
    with jax.enable_x64(True):
        narrow = directions(RULES[name], g_SxHxE)
        wide = directions(RULES[name], np.tile(g_SxHxE, (1, 7, 1)))
    np.testing.assert_allclose(wide, np.tile(narrow, (1, 7, 1)), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("make", [partial(scale_by_adam_star, nesterov=True), scale_by_muon_star])
def test_other_width_axes_and_more_axes_mean_the_same(make):
    g_SxHxE = gradient_sequence((5, 6), steps=4).astype(np.float32)
    expected = directions(make(), g_SxHxE)
    # Two axes of 2 and 3 outputs on the two sides of the width.
    g_Sx2xHx3 = g_SxHxE.reshape(4, 5, 2, 3).transpose(0, 2, 1, 3)
    found = directions(make(width_axis=1), g_Sx2xHx3)
    np.testing.assert_array_equal(found.transpose(0, 2, 1, 3).reshape(4, 5, 6), expected)


@pytest.mark.parametrize(
    ("transform", "floats"),
    [
        (scale_by_rms_star(width_axis=1), 6),
        (scale_by_adagrad_star(width_axis=1), 6),
        (scale_by_adam_star(width_axis=1, nesterov=True), 6 + 300),
        (scale_by_muon_star(width_axis=1), 300),
    ],
)
def test_states_hold_what_is_said(transform, floats):
    state = transform.init(jnp.zeros((2, 50, 3)))
    held = [leaf.size for leaf in jax.tree.leaves(state) if leaf.dtype == jnp.float32]
    assert sum(held) == floats


@pytest.mark.parametrize("name", RULES)
def test_no_gradient_moves_nothing(name):
    nothing_HxE = jnp.zeros((4, 3))
    update_HxE, _ = RULES[name].update(nothing_HxE, RULES[name].init(nothing_HxE))
    np.testing.assert_array_equal(update_HxE, nothing_HxE)


@pytest.mark.parametrize("make", [scale_by_rms_star, scale_by_adagrad_star, scale_by_muon_star])
def test_an_axis_out_of_range_is_one_clear_line(make):
    with pytest.raises(ValueError, match=r"width_axis 2 is out of range for \['a'\] of shape"):
        make(width_axis=2).init({"a": jnp.ones((4, 3))})


def test_examples_run():
    failed, attempted = doctest.testmod(module)
    assert failed == 0
    assert attempted > 0
