# SPDX-License-Identifier: Apache-2.0
"""ADAM*: its arithmetic, its degenerate case, its state, and what bad arguments say."""

import doctest
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from infwidth.optim import adam_star, scale_by_adam_star
from tests.optim.oracle import Rule

SECOND_MOMENTS = ["per_output", "global", "factored"]
B1, B2, EPS = 0.9, 0.98, 1e-8


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


def eager_directions(transform, gradients):
    """As `directions`, without a compiler that may contract a product and a sum."""
    state = transform.init(jnp.zeros_like(gradients[0]))
    found = []
    for g in gradients:
        update, state = transform.update(g, state)
        found.append(np.asarray(update))
    return found


@pytest.mark.parametrize("second_moment", SECOND_MOMENTS)
@pytest.mark.parametrize(("shape", "axis"), [((6, 4), 0), ((6, 4), -1), ((3, 6, 4), 1), ((5,), 0)])
def test_equals_the_float64_oracle(second_moment, shape, axis):
    gradients = gradient_sequence(shape, steps=60)
    oracle = Rule(second_moment, B1, B2, EPS, axis)
    expected = [oracle.direction(g) for g in gradients]
    with jax.enable_x64(True):
        transform = scale_by_adam_star(B1, B2, EPS, width_axis=axis, second_moment=second_moment)
        found = directions(transform, gradients)
    # 60 steps of O(1) arithmetic, each with a relative error of 1e-16.
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("second_moment", SECOND_MOMENTS)
def test_float32_stays_within_its_rounding(second_moment):
    gradients = gradient_sequence((6, 4), steps=60).astype(np.float32)
    oracle = Rule(second_moment, B1, B2, EPS)
    expected = [oracle.direction(g) for g in gradients]
    found = directions(scale_by_adam_star(B1, B2, EPS, second_moment=second_moment), gradients)
    # 1 − β2 at the first step cancels to a relative error of 6e-8 / 0.02 = 3e-6.
    np.testing.assert_allclose(found, expected, rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize("second_moment", ["per_output", "factored"])
def test_is_elementwise_adam_at_width_one(second_moment):
    gradients = [jnp.asarray(g, jnp.float32) for g in gradient_sequence((1, 7), steps=50)]
    found = eager_directions(
        scale_by_adam_star(B1, B2, EPS, second_moment=second_moment), gradients
    )
    with jax.numpy_dtype_promotion("standard"):
        expected = eager_directions(optax.scale_by_adam(B1, B2, EPS), gradients)
    np.testing.assert_array_equal(found, expected)


def test_factored_is_elementwise_adam_on_a_single_output():
    gradients = [jnp.asarray(g, jnp.float32) for g in gradient_sequence((7,), steps=50)]
    found = directions(scale_by_adam_star(B1, B2, EPS, second_moment="factored"), gradients)
    with jax.numpy_dtype_promotion("standard"):
        expected = directions(optax.scale_by_adam(B1, B2, EPS), gradients)
    # r · (c / mean r) is r up to a few roundings of 6e-8.
    np.testing.assert_allclose(found, expected, rtol=5e-7)


@pytest.mark.parametrize(("shape", "axis"), [((6, 4), 0), ((3, 6, 4), 1), ((5,), 0)])
def test_of_errors_v_is_the_running_mean_of_what_is_given(shape, axis):
    rng = np.random.default_rng(1)
    gradients = gradient_sequence(shape, steps=60)
    others = tuple(n for i, n in enumerate(shape) if i != axis)
    squares = [np.exp(rng.normal(size=others)) for _ in gradients]
    with jax.enable_x64(True):
        transform = scale_by_adam_star(B1, B2, EPS, width_axis=axis, second_moment="error")
        state, m, v = transform.init(jnp.zeros(shape)), 0.0, 0.0
        for t, (g, square) in enumerate(zip(gradients, squares, strict=True), start=1):
            given = {"squared_errors": jnp.asarray(square), "unexpected": 1}
            update, state = transform.update(jnp.asarray(g), state, **given)
            m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * np.expand_dims(square, axis)
            expected = m / (1 - B1**t) / (np.sqrt(v / (1 - B2**t)) + EPS)
            np.testing.assert_allclose(update, expected, rtol=1e-12)


@pytest.mark.parametrize("given", [{}, {"squared_errors": {"a": jnp.ones((1,))}}])
def test_without_the_squares_of_each_error_it_says_what_it_needs(given):
    params = {"a": jnp.ones((4, 3))}
    rule = scale_by_adam_star(second_moment="error")
    with pytest.raises(ValueError, match=r"needs update\(\.\.\., squared_errors=") as caught:
        rule.update(params, rule.init(params), **given)
    assert "\n" not in str(caught.value)


def test_gradients_are_taken_as_they_come():
    g_HxE = jnp.asarray(gradient_sequence((64, 3), steps=1)[0], jnp.float32)
    _, state = scale_by_adam_star(b1=0.0, b2=0.0).update(g_HxE, scale_by_adam_star().init(g_HxE))
    np.testing.assert_array_equal(state.mu, g_HxE)
    np.testing.assert_allclose(state.nu, np.mean(np.square(g_HxE), axis=0), rtol=1e-6)


@pytest.mark.parametrize("second_moment", SECOND_MOMENTS)
@pytest.mark.parametrize("eps", [0.0, 0.5])
def test_units_do_not_notice_copies_of_themselves(second_moment, eps):
    g_SxHxE = gradient_sequence((4, 3), steps=20).astype(np.float32)
    transform = scale_by_adam_star(B1, B2, eps, second_moment=second_moment)
    narrow = directions(transform, list(g_SxHxE))
    wide = directions(transform, [np.tile(g, (7, 1)) for g in g_SxHxE])
    # Only the order of summation in the mean over the width differs.
    np.testing.assert_allclose(wide, [np.tile(u, (7, 1)) for u in narrow], rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("second_moment", "floats"),
    [("per_output", 2 * 3), ("global", 1), ("factored", 50 + 2 * 3)],
)
def test_the_second_moment_takes_no_memory_of_size_width_times_outputs(second_moment, floats):
    state = scale_by_adam_star(width_axis=1, second_moment=second_moment).init(
        jnp.zeros((2, 50, 3))
    )
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(state.nu)) == 4 * floats
    assert state.mu.shape == (2, 50, 3)


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
    ("arguments", "message"),
    [
        ({"second_moment": "row"}, r"second_moment must be one of per_output, global, factored, "),
        ({"width_axis": 2}, r"width_axis 2 is out of range for \['a'\] of shape \(4, 3\)"),
        ({"width_axis": -3}, r"width_axis -3 is out of range for \['a'\] of shape \(4, 3\)"),
        ({"width_axis": {"b": 0}}, r"must be an int or a pytree prefix of the parameters: "),
        ({"width_axis": {"a": 0.5}}, r"must hold plain ints, not float"),
        ({"width_axis": lambda tree: {"a": "0"}}, r"must hold plain ints, not str"),
    ],
)
def test_bad_arguments_are_one_clear_line(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        scale_by_adam_star(**arguments).init({"a": jnp.ones((4, 3))})
    assert "\n" not in str(caught.value)


def test_a_scalar_has_no_width_axis():
    with pytest.raises(ValueError, match=r"out of range for the parameter of shape \(\)"):
        scale_by_adam_star().init(jnp.float32(1.0))


def test_weight_decay_without_parameters_is_an_error():
    solver = adam_star(0.1, weight_decay=0.01)
    g_HxE = jnp.ones((4, 3))
    with pytest.raises(ValueError, match="params"):
        solver.update(g_HxE, solver.init(g_HxE))


def test_weight_decay_is_decoupled_and_masked():
    params = {"a": jnp.full((4, 3), 2.0), "b": jnp.full((5, 3), 2.0)}
    gradients = jax.tree.map(lambda p: p + 1.0, params)
    plain = adam_star(0.1)
    decayed = adam_star(0.1, weight_decay=0.25, mask={"a": True, "b": False})
    u_plain, _ = plain.update(gradients, plain.init(params))
    u_decayed, _ = decayed.update(gradients, decayed.init(params), params)
    # −η λ M = −0.1 · 0.25 · 2, on top of a step of size 0.1, where float32 spaces numbers by 7e-9.
    np.testing.assert_allclose(u_decayed["a"] - u_plain["a"], np.full((4, 3), -0.05), atol=2e-8)
    np.testing.assert_array_equal(u_decayed["b"], u_plain["b"])


def test_a_unit_that_never_had_a_gradient_stays_put():
    g_HxE = jnp.ones((4, 3)).at[1].set(0.0)
    for second_moment in SECOND_MOMENTS:
        found = directions(scale_by_adam_star(second_moment=second_moment), [g_HxE, g_HxE])
        np.testing.assert_array_equal(found[-1][1], np.zeros(3))
        nothing = directions(
            scale_by_adam_star(second_moment=second_moment), [jnp.zeros_like(g_HxE)]
        )
        np.testing.assert_array_equal(nothing[0], np.zeros((4, 3)))


def test_examples_run():
    # By sys.modules: as an attribute of the package, `adam_star` is the function.
    failed, attempted = doctest.testmod(sys.modules["infwidth.optim.adam_star"])
    assert failed == 0
    assert attempted > 0
