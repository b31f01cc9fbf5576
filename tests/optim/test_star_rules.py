# SPDX-License-Identifier: Apache-2.0
"""The rules that keep the kernel form: arithmetic, what they equal, states, and bad arguments."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from infwidth.optim import (
    adam_star,
    scale_by_adagrad_star,
    scale_by_adam_star,
    scale_by_muon_star,
    scale_by_rms_star,
)
from tests.optim.oracle import Rule

B1, B2, EPS = 0.8, 0.95, 1e-3
ADAM_STAR = partial(scale_by_adam_star, b1=B1, b2=B2, eps=EPS)
RULES = {
    "per_output": ADAM_STAR,
    "global": partial(ADAM_STAR, second_moment="global"),
    "factored": partial(ADAM_STAR, second_moment="factored"),
    "nadam_star": partial(ADAM_STAR, nesterov=True),
    "uncorrected": partial(ADAM_STAR, bias_correction=False),
    "rms_star": partial(scale_by_rms_star, B2, EPS, bias_correction=True),
    "adagrad_star": partial(scale_by_adagrad_star, eps=EPS),
    "muon_star": partial(scale_by_muon_star, B1, EPS),
}
every_rule = pytest.mark.parametrize("name", RULES)


def gradient_sequence(shape, steps, seed=0):
    """Gradients whose size differs from step to step, unit to unit and output to output."""
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.normal(size=(steps, *[1] * len(shape)))) * np.exp(rng.normal(size=shape))
    return sizes * rng.normal(size=(steps, *shape))


def directions(transform, gradients):
    def step(state, g):
        update, state = transform.update(g, state)
        return state, update

    gradients = jnp.asarray(np.asarray(gradients))
    start = transform.init(jnp.zeros_like(gradients[0]))
    return np.asarray(jax.jit(lambda: jax.lax.scan(step, start, gradients)[1])())


@every_rule
@pytest.mark.parametrize(("shape", "axis"), [((6, 4), 0), ((6, 4), -1), ((3, 6, 4), 1), ((5,), 0)])
def test_equals_the_float64_oracle(name, shape, axis):
    gradients = gradient_sequence(shape, steps=40)
    oracle = Rule(name, B1, B2, EPS, axis)
    expected = [oracle.direction(g) for g in gradients]
    with jax.enable_x64(True):
        found = directions(RULES[name](width_axis=axis), gradients)
    # 40 steps of O(1) arithmetic with errors of 1e-16. Muon's root multiplies those of S by at
    # most 1/ε = 1e3.
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["per_output", "global", "factored"])
def test_float32_stays_within_its_rounding(name):
    gradients = gradient_sequence((6, 4), steps=60).astype(np.float32)
    oracle = Rule(name, 0.9, 0.98, 1e-8)
    expected = [oracle.direction(g) for g in gradients]
    found = directions(RULES[name](b1=0.9, b2=0.98, eps=1e-8), gradients)
    # 1 − β2 at the first step cancels to a relative error of 6e-8 / 0.02 = 3e-6.
    np.testing.assert_allclose(found, expected, rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize(
    ("ours", "original", "shape", "rtol"),
    [
        ("per_output", optax.scale_by_adam(B1, B2, EPS), (1, 7), 0),
        ("factored", optax.scale_by_adam(B1, B2, EPS), (1, 7), 0),
        ("nadam_star", optax.scale_by_adam(B1, B2, EPS, nesterov=True), (1, 7), 0),
        # On a single output; r · (c / mean r) is r up to a few roundings of 6e-8.
        ("factored", optax.scale_by_adam(B1, B2, EPS), (7,), 5e-7),
        # optax multiplies by an inverse root, which rounds otherwise.
        (
            "rms_star",
            optax.scale_by_rms(B2, EPS, eps_in_sqrt=False, bias_correction=True),
            (1, 7),
            3e-7,
        ),
        (
            scale_by_adagrad_star(eps=0.0),
            optax.scale_by_rss(initial_accumulator_value=0.0, eps=0.0),
            (1, 7),
            5e-7,
        ),
    ],
)
def test_is_its_elementwise_namesake_at_width_one(ours, original, shape, rtol):
    found = []
    # Without a compiler that may contract a product and a sum.
    with jax.numpy_dtype_promotion("standard"):
        for transform in (RULES[ours]() if isinstance(ours, str) else ours, original):
            state, steps = transform.init(jnp.zeros(shape)), []
            for g in gradient_sequence(shape, steps=50):
                update, state = transform.update(jnp.asarray(g, jnp.float32), state)
                steps.append(np.asarray(update))
            found.append(steps)
    np.testing.assert_allclose(*found, rtol=rtol)


@pytest.mark.parametrize(("shape", "axis"), [((6, 4), 0), ((3, 6, 4), 1), ((5,), 0)])
def test_of_errors_v_is_the_running_mean_of_what_is_given(shape, axis):
    rng = np.random.default_rng(1)
    oracle = Rule("error", B1, B2, EPS)
    others = tuple(n for i, n in enumerate(shape) if i != axis)
    with jax.enable_x64(True):
        transform = ADAM_STAR(width_axis=axis, second_moment="error")
        state = transform.init(jnp.zeros(shape))
        for g in gradient_sequence(shape, steps=60):
            square = np.exp(rng.normal(size=others))
            given = {"squared_errors": jnp.asarray(square), "unexpected": 1}
            update, state = transform.update(jnp.asarray(g), state, **given)
            expected = oracle.direction(g, np.expand_dims(square, axis))
            np.testing.assert_allclose(update, expected, rtol=1e-12)


@pytest.mark.parametrize("given", [{}, {"squared_errors": {"a": jnp.ones((1,))}}])
def test_without_the_squares_of_each_error_it_says_what_it_needs(given):
    params = {"a": jnp.ones((4, 3))}
    rule = scale_by_adam_star(second_moment="error")
    with pytest.raises(ValueError, match=r"needs update\(\.\.\., squared_errors=") as caught:
        rule.update(params, rule.init(params), **given)
    assert "\n" not in str(caught.value)


@every_rule
def test_units_do_not_notice_copies_of_themselves_and_without_a_gradient_stay_put(name):
    g_SxHxE = gradient_sequence((6, 4), steps=10)
    g_SxHxE[:, 1] = 0
    with jax.enable_x64(True):
        narrow = directions(RULES[name](), g_SxHxE)
        wide = directions(RULES[name](), np.tile(g_SxHxE, (1, 7, 1)))
        nothing = directions(RULES[name](), 0 * g_SxHxE)
    np.testing.assert_allclose(wide, np.tile(narrow, (1, 7, 1)), rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(narrow[:, 1], 0)
    np.testing.assert_array_equal(nothing, 0)


@pytest.mark.parametrize(
    ("name", "floats"),
    [
        ("per_output", 6 + 300),
        ("global", 1 + 300),
        ("factored", 50 + 6 + 300),
        ("nadam_star", 6 + 300),
        ("rms_star", 6),
        ("adagrad_star", 6),
        ("muon_star", 300),
    ],
)
def test_states_hold_what_is_said(name, floats):
    state = RULES[name](width_axis=1).init(jnp.zeros((2, 50, 3)))
    held = [leaf.size for leaf in jax.tree.leaves(state) if leaf.dtype == jnp.float32]
    assert sum(held) == floats


def test_every_form_of_width_axis_means_the_same():
    params = {"a": {"x": jnp.ones((4, 3)), "y": jnp.ones((5, 3))}, "b": jnp.ones((3, 6))}
    gradients = jax.tree.map(
        lambda p: jnp.asarray(gradient_sequence(p.shape, 1)[0], jnp.float32), params
    )
    forms = [
        {"a": {"x": 0, "y": 0}, "b": 1},
        {"a": 0, "b": -1},
        {"a": {"x": np.int64(0), "y": -2}, "b": 1},
        lambda tree: {"a": 0, "b": 1},
        lambda tree: jax.tree.map(lambda p: int(np.argmax(p.shape)), tree),
    ]
    found = []
    for form in forms:
        transform = scale_by_adam_star(width_axis=form)
        state = transform.init(params)
        assert jax.tree.map(jnp.shape, state.nu) == {"a": {"x": (3,), "y": (3,)}, "b": (3,)}
        found.append(transform.update(gradients, state)[0])
    for other in found[1:]:
        jax.tree.map(np.testing.assert_array_equal, found[0], other)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (scale_by_adam_star, {"second_moment": "row"}, r"must be one of per_output, global, fact"),
        (scale_by_adam_star, {"width_axis": -3}, r"width_axis -3 is out of range for \['a'\] of"),
        (scale_by_adam_star, {"width_axis": {"b": 0}}, r"must be an int or a pytree prefix of "),
        (scale_by_adam_star, {"width_axis": {"a": 0.5}}, r"must hold plain ints, not float"),
        (
            scale_by_adam_star,
            {"width_axis": lambda _: {"a": "0"}},
            r"must hold plain ints, not str",
        ),
        *(
            (make, {"width_axis": 2}, r"2 is out of range for \['a'\] of shape \(4, 3\)")
            for make in (
                *(scale_by_adam_star, scale_by_rms_star),
                *(scale_by_adagrad_star, scale_by_muon_star),
            )
        ),
    ],
)
def test_bad_arguments_are_one_clear_line(make, arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        make(**arguments).init({"a": jnp.ones((4, 3))})
    assert "\n" not in str(caught.value)


def test_weight_decay_is_decoupled_and_masked_and_needs_parameters():
    params = {"a": jnp.full((4, 3), 2.0), "b": jnp.full((5, 3), 2.0)}
    gradients = jax.tree.map(lambda p: p + 1.0, params)
    plain = adam_star(0.1)
    decayed = adam_star(0.1, weight_decay=0.25, mask={"a": True, "b": False})
    u_plain, _ = plain.update(gradients, plain.init(params))
    u_decayed, _ = decayed.update(gradients, decayed.init(params), params)
    # −η λ M = −0.1 · 0.25 · 2, on top of a step of size 0.1, where float32 spaces numbers by 7e-9.
    np.testing.assert_allclose(u_decayed["a"] - u_plain["a"], np.full((4, 3), -0.05), atol=2e-8)
    np.testing.assert_array_equal(u_decayed["b"], u_plain["b"])
    with pytest.raises(ValueError, match="params"):
        decayed.update(gradients, decayed.init(params))


def muon(g_HxE, eps, dtype=np.float64):
    with jax.enable_x64(dtype is np.float64):
        return directions(scale_by_muon_star(B1, eps), np.asarray([g_HxE], dtype))[0]


def test_muon_star_is_the_polar_factor_where_eps_vanishes():
    g_HxE = gradient_sequence((50, 4), steps=1)[0]
    left_HxE, _, right_ExE = np.linalg.svd(g_HxE, full_matrices=False)
    found_HxE = muon(g_HxE, eps=0.0)
    np.testing.assert_allclose(found_HxE, np.sqrt(50) * left_HxE @ right_ExE, rtol=1e-9, atol=1e-10)


def test_muon_star_in_float32_stands_a_momentum_of_rank_one():
    g_HxE = np.outer(gradient_sequence((50,), steps=1)[0], [1.0, 2.0, -2.0])
    found_HxE = muon(g_HxE, 1e-4, np.float32)
    # One singular value, √E in units of the root mean square: 1/√(1 + ε/E) is 1 − 2e-5.
    expected_HxE = np.sqrt(50) * g_HxE / np.linalg.norm(g_HxE)
    np.testing.assert_allclose(found_HxE, expected_HxE, rtol=1e-4, atol=1e-4)


def test_muon_star_has_derivatives_where_singular_values_coincide_too():
    left_HxE = np.linalg.qr(gradient_sequence((8, 3), steps=1)[0])[0]
    rule = scale_by_muon_star(B1, 1e-2)
    with jax.enable_x64(True):
        g_HxE = jnp.asarray(left_HxE * np.array([1.0, 1.0, 0.5]))
        check_grads(lambda g: rule.update(g, rule.init(g))[0], (g_HxE,), order=1, rtol=1e-6)
