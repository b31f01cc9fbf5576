# SPDX-License-Identifier: Apache-2.0
"""What every optax transformation must stand: wrappers, loops, dtypes, compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from infwidth.optim import (
    adam_star,
    clip_by_functional_norm,
    on_measured_scales,
    scale_by_adagrad_star,
    scale_by_adam_star,
    scale_by_muon_star,
    scale_by_nadam_star,
    scale_by_rms_star,
    scale_by_width,
)

SECOND_MOMENTS = ["per_output", "global", "factored"]
FACTORIES = {
    **{
        f"adam_star-{name}": lambda name=name: adam_star(0.05, second_moment=name)
        for name in SECOND_MOMENTS
    },
    "adam_star-decay": lambda: adam_star(0.05, weight_decay=1e-3),
    **{
        make.__name__: lambda make=make: optax.chain(make(), optax.scale_by_learning_rate(0.05))
        for make in (
            scale_by_rms_star,
            scale_by_adagrad_star,
            scale_by_nadam_star,
        )
    },
    # Of two units, m has at most two singular values for four outputs; roundings in what should be
    # 0 are multiplied by up to 1/√ε.
    "scale_by_muon_star": lambda: optax.chain(
        scale_by_muon_star(eps=1e-2), optax.scale_by_learning_rate(0.05)
    ),
    **{
        f"on_measured_scales-{steps}": lambda steps=steps: optax.chain(
            on_measured_scales(scale_by_adam_star(), hold_after=steps),
            optax.scale_by_learning_rate(0.05),
        )
        for steps in (0, 3, None)
    },
    "functional": lambda: optax.chain(
        scale_by_width(), clip_by_functional_norm(1.0), optax.scale_by_learning_rate(0.05)
    ),
}
every_factory = pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)


@pytest.fixture(autouse=True)
def _optax_promotes():
    """optax's own wrappers mix Python floats with int32 counts."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def target(dtype=jnp.float32):
    """A parabola over leaves of 1, 2 and 3 axes."""
    goal = {
        "vector": jnp.asarray([1.0, -1.0, 2.0], dtype),
        "matrix": jnp.asarray([[1.0, 0.5], [-1.0, 3.0]], dtype),
        "cube": jnp.asarray(np.linspace(-1, 1, 8).reshape(2, 2, 2), dtype),
    }

    def loss(params):
        squares = jax.tree.map(lambda p, g: jnp.sum(jnp.square(p - g)), params, goal)
        return sum(jax.tree.leaves(squares))

    return jax.tree.map(jnp.zeros_like, goal), goal, loss


def close(found, expected, rtol=1e-6):
    jax.tree.map(
        lambda f, e: np.testing.assert_allclose(
            np.asarray(f, np.float64), np.asarray(e, np.float64), rtol=rtol, atol=1e-7
        ),
        found,
        expected,
    )


@every_factory
def test_unexpected_extra_arguments_are_accepted_and_nothing_recompiles(factory):
    solver = factory()
    params, _, loss = target()
    traces = []

    @jax.jit
    def step(params, state):
        traces.append(1)
        updates, state = solver.update(
            jax.grad(loss)(params), state, params, unexpected_extra_argument=1
        )
        return optax.apply_updates(params, updates), state

    state = solver.init(params)
    for _ in range(3):
        params, state = step(params, state)
    assert len(traces) == 1


def test_the_bare_transformation_accepts_extra_arguments():
    transform = scale_by_adam_star()
    g_HxE = jnp.ones((4, 3))
    state = transform.init(g_HxE)
    plain, extra = (transform.update(g_HxE, state, **words) for words in ({}, {"unexpected": 1}))
    close(extra[0], plain[0])


@every_factory
def test_a_scan_equals_a_loop(factory):
    solver = factory()
    params, _, loss = target()

    def step(carry, _):
        params, state = carry
        updates, state = solver.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    looped = (params, solver.init(params))
    for _ in range(10):
        looped, _ = step(looped, None)
    scanned, _ = jax.jit(lambda carry: jax.lax.scan(step, carry, length=10))(
        (params, solver.init(params))
    )
    # A compiled step may contract a product and a sum, eager ones do not; ten steps of 0.05.
    close(scanned, looped, rtol=1e-5)


@pytest.mark.parametrize("name", SECOND_MOMENTS)
def test_it_optimizes(name):
    params, goal, loss = target()
    rate = optax.cosine_decay_schedule(0.1, 300)
    solver = adam_star(rate, second_moment=name)

    def step(carry, _):
        params, state = carry
        updates, state = solver.update(jax.grad(loss)(params), state)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (params, solver.init(params)), length=300)
    jax.tree.map(lambda p, g: np.testing.assert_allclose(p, g, atol=1e-3), params, goal)


@every_factory
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float64])
def test_shapes_and_dtypes_of_state_and_update_are_stable_under_cond(factory, dtype):
    with jax.enable_x64(dtype is jnp.float64):
        solver = factory()
        params, _, loss = target(dtype)
        state = solver.init(params)
        gradients = jax.grad(loss)(params)

        @jax.jit
        def step(take, state):
            return jax.lax.cond(
                take,
                lambda: solver.update(gradients, state, params),
                lambda: (gradients, state),
            )

        for take in (True, False, True):
            updates, new_state = step(take, state)
            jax.tree.map(lambda u: np.testing.assert_equal(u.dtype, jnp.dtype(dtype)), updates)
            assert jax.tree.map(jax.typeof, new_state) == jax.tree.map(jax.typeof, state)
            state = new_state


@every_factory
def test_multi_steps_is_a_step_on_the_mean_gradient(factory):
    params, _, _ = target()
    # Powers of two, so that the running mean of MultiSteps is exact.
    gradients = [jax.tree.map(lambda p, s=s: jnp.full_like(p, s), params) for s in (1.0, 3.0)]
    solver = optax.MultiSteps(factory(), every_k_schedule=2)
    state = solver.init(params)
    first, state = jax.jit(solver.update)(gradients[0], state, params)
    second, _ = jax.jit(solver.update)(gradients[1], state, params)
    inner = factory()
    mean = jax.tree.map(lambda p: jnp.full_like(p, 2.0), params)
    expected, _ = inner.update(mean, inner.init(params), params)
    close(first, jax.tree.map(jnp.zeros_like, params))
    close(second, expected)


@pytest.mark.parametrize("name", SECOND_MOMENTS)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_hyperparameters_can_be_injected(name, weight_decay):
    params, _, loss = target()
    gradients = jax.grad(loss)(params)
    plain = adam_star(0.05, weight_decay=weight_decay, second_moment=name)
    injected = optax.inject_hyperparams(adam_star, static_args="width_axis")(
        learning_rate=0.05, weight_decay=weight_decay, second_moment=name
    )
    state = jax.jit(injected.init)(params)
    update = jax.jit(injected.update)
    expected, _ = plain.update(gradients, plain.init(params), params)
    # β1 as a float32 array, not a Python float, moves 1 − β1 by one rounding in 0.1.
    close(update(gradients, state, params)[0], expected, rtol=1e-5)
    state.hyperparams["learning_rate"] = jnp.float32(0.1)
    close(update(gradients, state, params)[0], jax.tree.map(lambda u: 2 * u, expected), rtol=1e-5)


def test_an_injected_width_axis_says_what_to_do():
    params = jnp.ones((4, 3))
    solver = optax.inject_hyperparams(adam_star)(learning_rate=0.05)
    with pytest.raises(ValueError, match="name it in static_args"):
        jax.jit(solver.init)(params)


def test_a_schedule_is_followed():
    params = jnp.zeros((4, 3))
    scheduled = adam_star(lambda count: 0.1 / (1 + count))
    plain = adam_star(1.0)
    state, plain_state = scheduled.init(params), plain.init(params)
    for step in range(3):
        found, state = scheduled.update(jnp.ones((4, 3)), state)
        expected, plain_state = plain.update(jnp.ones((4, 3)), plain_state)
        close(found, 0.1 / (1 + step) * expected)


@pytest.mark.parametrize("name", SECOND_MOMENTS)
def test_it_can_be_masked_and_partitioned(name):
    params = {"readout": jnp.ones((4, 3)), "other": jnp.ones(())}
    gradients = jax.tree.map(lambda p: 2 * p, params)
    axes = {"readout": 0, "other": 0}
    rule = scale_by_adam_star(width_axis=axes, second_moment=name)
    solver = optax.partition(
        {"star": rule, "rest": optax.set_to_zero()}, {"readout": "star", "other": "rest"}
    )
    updates, _ = solver.update(gradients, solver.init(params), params)
    alone = scale_by_adam_star(second_moment=name)
    expected, _ = alone.update(gradients["readout"], alone.init(params["readout"]))
    np.testing.assert_array_equal(updates["readout"], expected)
    assert updates["other"] == 0


@every_factory
def test_the_count_saturates_and_leaves_may_be_missing(factory):
    solver = factory()
    params = {"a": jnp.ones((2, 2)), "b": None}
    state = solver.init(params)
    last = jnp.int32(np.iinfo(np.int32).max)
    state = jax.tree.map(lambda leaf: last if leaf.dtype == jnp.int32 else leaf, state)
    updates, state = solver.update(params, state, params)
    assert updates["b"] is None
    assert np.all(np.isfinite(updates["a"]))
    counts = [leaf for leaf in jax.tree.leaves(state) if leaf.dtype == jnp.int32]
    assert all(count == last for count in counts)
