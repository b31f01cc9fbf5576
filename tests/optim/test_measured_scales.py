# SPDX-License-Identifier: Apache-2.0
"""A rule on measured scales is that rule on other features, which stand still from step N on.

Shapes: N inputs, H units, E outputs.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from infwidth.optim import (
    on_measured_scales,
    scale_by_adam_star,
    scale_by_muon_star,
    scale_by_width,
)

INPUTS, WIDTH, OUTPUTS, STEPS, RATE = 6, 12, 3, 30, 0.1
INNER = {
    "sgd": optax.identity,
    "adam_star": lambda: scale_by_adam_star(b2=0.9),
    "muon_star": lambda: scale_by_muon_star(eps=1e-2),
    "adam": lambda: optax.scale_by_adam(b2=0.9),
}
every_rule = pytest.mark.parametrize("name", INNER)


@pytest.fixture(autouse=True)
def _float64():
    # Adam of optax mixes Python floats with int32 counts.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


def regression():
    """Features of very different sizes, and targets."""
    rng = np.random.default_rng(0)
    size_H = np.exp(1.5 * rng.normal(size=WIDTH))
    g_NxH = size_H * np.maximum(rng.normal(size=(INPUTS, WIDTH)), 0)
    return jnp.asarray(g_NxH), jnp.asarray(rng.normal(size=(INPUTS, OUTPUTS)))


def train(rule, g_NxH, y_NxE, m_HxE, state=None, steps=STEPS):
    """The values of f and the readouts' gradients (G) at every step, and where all ends."""

    def loss(m_HxE):
        return jnp.mean(jnp.square(g_NxH @ m_HxE / WIDTH - y_NxE))

    def step(carry, _):
        m_HxE, state = carry
        gradient_HxE = jax.grad(loss)(m_HxE)
        direction, state = solver.update(gradient_HxE, state, m_HxE)
        m_HxE = m_HxE - RATE * direction
        return (m_HxE, state), (g_NxH @ m_HxE / WIDTH, WIDTH * gradient_HxE)

    solver = optax.chain(scale_by_width(), rule)
    start = (m_HxE, solver.init(m_HxE) if state is None else (optax.EmptyState(), state))
    (m_HxE, state), (f_SxNxE, g_SxHxE) = jax.lax.scan(step, start, length=steps)
    return f_SxNxE, g_SxHxE, m_HxE, state[1]


def drawn(size=1.0):
    return size * jnp.asarray(np.random.default_rng(1).normal(size=(WIDTH, OUTPUTS)))


def scale_of(r_H, floor=1e-6):
    return np.maximum(np.asarray(r_H) / np.mean(r_H), floor)


def held(inner, r_H, **words):
    rule = on_measured_scales(inner, hold_after=0, **words)
    return rule, rule.init(drawn())._replace(mean_square=jnp.asarray(r_H))


@every_rule
@pytest.mark.parametrize("power", [0.0, 0.25, 0.5])
def test_it_is_the_rule_on_the_features_divided_by_their_scales(name, power):
    g_NxH, y_NxE = regression()
    r_H = np.exp(np.random.default_rng(2).normal(size=WIDTH))
    s_H = jnp.asarray(scale_of(r_H) ** power)
    rule, state = held(INNER[name](), r_H, power=power)
    found, _, m_HxE, _ = train(rule, g_NxH, y_NxE, drawn(), state)
    inside = INNER[name]()
    # The same function at the start: M̃ = s^p M reads out g s^-p.
    expected, _, tilde_HxE, _ = train(inside, g_NxH / s_H[None, :], y_NxE, s_H[:, None] * drawn())
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(m_HxE, tilde_HxE / s_H[:, None], rtol=1e-9, atol=1e-11)


@every_rule
def test_r_is_the_mean_of_the_first_steps_and_then_the_rule_starts_anew_in_one_kernel(name):
    held_from = 7
    g_NxH, y_NxE = regression()
    rule = on_measured_scales(INNER[name](), hold_after=held_from)
    f_SxNxE, g_SxHxE, _m_HxE, state = train(rule, g_NxH, y_NxE, drawn())
    r_H = np.mean(np.square(g_SxHxE[:held_from]), axis=(0, 2))
    np.testing.assert_allclose(state.mean_square, r_H, rtol=1e-12)
    # From there on it is the rule whose scales were given, from its own start.
    _, _, there, _ = train(rule, g_NxH, y_NxE, drawn(), steps=held_from)
    after, given = held(INNER[name](), r_H)
    expected, _, end, _ = train(after, g_NxH, y_NxE, there, given, STEPS - held_from)
    np.testing.assert_allclose(f_SxNxE[held_from:], expected, rtol=1e-9, atol=1e-12)
    # M has moved by a combination of the inputs' g / √s, f by one of Θ_r; Adam's leaves that span.
    sources_HxN = np.asarray(g_NxH).T / np.sqrt(scale_of(r_H))[:, None]
    moved_HxE = np.asarray(end - there)
    outside = moved_HxE - sources_HxN @ np.linalg.lstsq(sources_HxN, moved_HxE, rcond=None)[0]
    assert (np.max(np.abs(outside)) < 1e-10) == (name != "adam")
    assert name != "adam" or np.max(np.abs(outside)) > 1e-2


def test_without_an_end_it_measures_on():
    g_NxH, y_NxE = regression()
    rule = on_measured_scales(optax.identity(), hold_after=None)
    _, g_SxHxE, _, state = train(rule, g_NxH, y_NxE, drawn())
    np.testing.assert_allclose(
        state.mean_square, np.mean(np.square(g_SxHxE), axis=(0, 2)), rtol=1e-12
    )


@every_rule
def test_a_silent_unit_stays_where_it_is_and_wakes_with_the_largest_step(name):
    g_HxE = drawn().at[4].set(0)
    rule = on_measured_scales(INNER[name](), hold_after=2, floor=1e-4)
    state, m_HxE = rule.init(g_HxE), jnp.zeros_like(g_HxE)
    for _ in range(5):
        u_HxE, state = rule.update(g_HxE, state, m_HxE)
        np.testing.assert_array_equal(u_HxE[4], 0)
        assert np.all(np.isfinite(u_HxE))
    assert state.mean_square[4] == 0
    if name == "sgd":
        u_HxE, _ = rule.update(jnp.ones_like(g_HxE), state, m_HxE)
        np.testing.assert_allclose(u_HxE[4], 1e-4**-0.5, rtol=1e-12)


def test_where_nothing_was_measured_there_are_no_scales():
    rule = on_measured_scales(optax.identity(), hold_after=0)
    u_HxE, _ = rule.update(drawn(), rule.init(drawn()))
    np.testing.assert_array_equal(u_HxE, drawn())


def test_held_scales_cost_no_measuring():
    def squares(hold_after):
        rule = on_measured_scales(optax.identity(), hold_after=hold_after)
        jaxpr = jax.make_jaxpr(rule.update)(drawn(), rule.init(drawn()), drawn())
        return str(jaxpr).count("square") + str(jaxpr).count("integer_pow")

    assert squares(0) == 0
    assert squares(5) > 0


def test_each_leaf_has_scales_of_its_own_along_its_own_axis():
    params = {"a": drawn(), "b": 3 * drawn(2.0).T, "c": drawn()[:, 0]}
    axes = {"a": 0, "b": 1, "c": 0}
    rule = on_measured_scales(optax.identity(), hold_after=1, width_axis=axes)
    found, state = rule.update(params, rule.init(params), params)
    assert jax.tree.map(jnp.shape, state.mean_square) == dict.fromkeys(params, (WIDTH,))
    for name, axis in axes.items():
        g_HxE = np.moveaxis(np.asarray(params[name]), axis, 0).reshape(WIDTH, -1)
        expected = g_HxE / np.sqrt(scale_of(np.mean(g_HxE**2, axis=1)))[:, None]
        u_HxE = np.moveaxis(np.asarray(found[name]), axis, 0).reshape(WIDTH, -1)
        np.testing.assert_allclose(u_HxE, expected, rtol=1e-12)


def test_extra_arguments_reach_the_rule():
    rule, state = held(scale_by_adam_star(second_moment="error"), np.ones(WIDTH))
    with pytest.raises(ValueError, match="squared_errors"):
        rule.update(drawn(), state)
    given = jnp.asarray([1.0, 4.0, 9.0])
    u_HxE, _ = rule.update(drawn(), state, squared_errors=given)
    np.testing.assert_allclose(u_HxE, drawn() / jnp.sqrt(given)[None, :], rtol=1e-7)


def test_mistakes_are_one_clear_line():
    with pytest.raises(ValueError, match=r"hold_after must be 0 or more, or None, not -1"):
        on_measured_scales(optax.identity(), hold_after=-1)
    rule = on_measured_scales(optax.identity(), hold_after=3)
    with pytest.raises(ValueError, match="params"):
        rule.update(drawn(), rule.init(drawn()))
