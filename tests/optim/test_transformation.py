# SPDX-License-Identifier: Apache-2.0
"""What every optax transformation must stand: wrappers, loops, types, devices, compilation."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from infwidth import optim
from infwidth.optim import (
    Stacked,
    adam_star,
    clip_by_functional_norm,
    on_measured_scales,
    scale_by_adam_star,
    scale_by_muon_star,
    scale_by_width,
)

SECOND_MOMENTS = ["per_output", "global", "factored"]
ALIASES = {name: getattr(optim, name) for name in optim.__all__ if name.endswith("_star")}
ALIASES = {name: make for name, make in ALIASES.items() if not name.startswith("scale_by")}
ALIASES["sgd"] = optim.sgd
# Of two units, m has at most two singular values for four outputs; roundings in what should be 0
# are multiplied by up to 1/√ε.
ALIASES["muon_star"] = partial(optim.muon_star, eps=1e-2)
STARRED = {name: make for name, make in ALIASES.items() if name != "sgd"}
FACTORIES = {
    **{name: lambda make=make: make(0.05) for name, make in ALIASES.items()},
    "adam_star-decay": lambda: adam_star(0.05, weight_decay=1e-3),
    **{
        f"adam_star-{name}": lambda name=name: adam_star(0.05, second_moment=name)
        for name in SECOND_MOMENTS
    },
    "sgd-momentum": lambda: optim.sgd(0.05, 0.9, nesterov=True),
    "rmsprop_star-momentum": lambda: optim.rmsprop_star(0.05, momentum=0.9, weight_decay=1e-3),
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
every_alias = pytest.mark.parametrize("name", ALIASES)
every_star = pytest.mark.parametrize("name", STARRED)


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
def test_a_scan_equals_a_loop_that_compiles_once_and_accepts_extra_arguments(factory):
    solver = factory()
    params, _, loss = target()
    traces = []

    def step(carry, _):
        traces.append(1)
        params, state = carry
        updates, state = solver.update(
            jax.grad(loss)(params), state, params, unexpected_extra_argument=1
        )
        return (optax.apply_updates(params, updates), state), None

    start = looped = (params, solver.init(params))
    compiled = jax.jit(step)
    for _ in range(10):
        looped, _ = compiled(looped, None)
    assert len(traces) == 1
    scanned, _ = jax.jit(lambda carry: jax.lax.scan(step, carry, length=10))(start)
    # Two programs may contract a product and a sum otherwise; ten steps of 0.05.
    close(scanned, looped, rtol=1e-5)


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


@every_alias
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_hyperparameters_can_be_injected_without_naming_any(name, weight_decay):
    params, _, loss = target()
    gradients = jax.grad(loss)(params)
    plain = ALIASES[name](0.05, weight_decay=weight_decay)
    injected = optax.inject_hyperparams(ALIASES[name])(
        learning_rate=0.05, weight_decay=weight_decay
    )
    state = jax.jit(injected.init)(params)
    update = jax.jit(injected.update)
    expected, inner = plain.update(gradients, plain.init(params), params)
    found, new_state = update(gradients, state, params)
    # β1 as a float32 array, not a Python float, moves 1 − β1 by one rounding in 0.1.
    close(found, expected, rtol=1e-5)
    if weight_decay:
        close(new_state.inner_state, inner, rtol=1e-4)
    state.hyperparams["learning_rate"] = jnp.float32(0.1)
    close(update(gradients, state, params)[0], jax.tree.map(lambda u: 2 * u, expected), rtol=1e-5)


def test_an_injected_width_axis_says_what_to_do():
    params = jnp.ones((4, 3))
    inject = partial(optax.inject_hyperparams, adam_star)
    solver = inject()(learning_rate=0.05, width_axis=1)
    with pytest.raises(ValueError, match="name it in static_args"):
        jax.jit(solver.init)(params)
    state = inject(static_args="width_axis")(learning_rate=0.05, width_axis=1).init(params)
    assert optax.tree.get(state, "nu").shape == (4,)


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


@every_alias
def test_moments_have_the_type_that_is_asked_for(name):
    words = {} if name in ("sgd", "rmsprop_star", "adagrad_star") else {"mu_dtype": jnp.bfloat16}
    solver = ALIASES[name](0.1, **words)
    params = jnp.ones((4, 3))
    state = solver.init(params)
    updates, new_state = jax.jit(solver.update)(params, state, params)
    assert jax.tree.map(jax.typeof, new_state) == jax.tree.map(jax.typeof, state)
    kinds = {leaf.dtype for leaf in jax.tree.leaves(new_state) if leaf.ndim == 2}
    assert kinds == ({jnp.dtype(jnp.bfloat16)} if words else set())
    assert updates.dtype == jnp.float32


@pytest.mark.parametrize(
    ("ours", "original"),
    [
        *(
            (adam_star(0.1, 0.8, 0.9, 1e-3, **words), optax.adamw(0.1, 0.8, 0.9, 1e-3, **words))
            for nesterov, eps_root in ((False, 0.0), (True, 1e-2))
            for words in [{"eps_root": eps_root, "nesterov": nesterov, "weight_decay": 0.1}]
        ),
        (optim.nadam_star(0.1), optax.nadam(0.1)),
        (
            optim.rmsprop_star(0.1, 0.8, 1e-3, momentum=0.7, nesterov=True),
            optax.rmsprop(0.1, 0.8, 1e-3, eps_in_sqrt=False, momentum=0.7, nesterov=True),
        ),
        (
            optim.rmsprop_star(lambda t: 0.1 / (1 + t), bias_correction=True, momentum=0.7),
            optax.rmsprop(
                lambda t: 0.1 / (1 + t), bias_correction=True, momentum=0.7, eps_in_sqrt=False
            ),
        ),
        (optim.adagrad_star(0.1, 0.1, 0.0), optax.adagrad(0.1, 0.1, 0.0)),
        (optim.sgd(0.1, 0.9, True), optax.sgd(0.1, 0.9, True)),
    ],
    ids=["adamw", "adamw nesterov", "nadam", "rmsprop", "rmsprop-schedule", "adagrad", "sgd"],
)
def test_at_width_one_an_alias_is_its_namesake(ours, original):
    params = jnp.asarray(np.random.default_rng(0).normal(size=(1, 5)), jnp.float32)
    state, original_state = ours.init(params), original.init(params)
    for step in range(5):
        gradients = jnp.sin((1.0 + step) * params)
        found, state = ours.update(gradients, state, params)
        expected, original_state = original.update(gradients, original_state, params)
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-7)
        params = params + found


@every_star
def test_complex_gradients_are_two_real_ones_in_the_second_moment(name):
    rng = np.random.default_rng(0)
    re_HxE, im_HxE = (jnp.asarray(rng.normal(size=(5, 3)), jnp.float32) for _ in range(2))
    solver = STARRED[name](0.1)
    g_HxE = jax.lax.complex(re_HxE, im_HxE)
    updates, state = solver.update(g_HxE, solver.init(g_HxE))
    assert updates.dtype == jnp.complex64
    squares = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim == 1]
    assert all(leaf.dtype == jnp.float32 for leaf in squares)
    if name == "muon_star":
        u_HxE = np.asarray(updates) / -0.1
        # A step of Muon* has singular values near √H; ε = 1e-2 shrinks them by a few hundredths.
        np.testing.assert_allclose(u_HxE.conj().T @ u_HxE / 5, np.eye(3), atol=0.1)
    else:
        # A phase goes through; the size is that of the modulus.
        turned, _ = solver.update(1j * g_HxE, solver.init(g_HxE))
        np.testing.assert_allclose(turned, 1j * np.asarray(updates), rtol=1e-6)
        along, _ = solver.update(jnp.abs(g_HxE), solver.init(re_HxE))
        np.testing.assert_allclose(np.abs(updates), np.abs(along), rtol=1e-6)


def test_the_functional_norm_of_complex_gradients_is_that_of_their_modulus():
    g_HxE = jnp.full((4, 1), 3 + 4j)
    clipped, _ = clip_by_functional_norm(1.0).update(g_HxE, optax.EmptyState())
    np.testing.assert_allclose(clipped, np.full((4, 1), 0.6 + 0.8j), rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@every_star
def test_moments_of_bfloat16_parameters_do_not_drift(name, dtype):
    solver = optax.chain(STARRED[name](1.0))
    g_HxE = jnp.ones((8, 1), dtype)

    def step(state, _):
        updates, state = solver.update(g_HxE, state)
        return state, updates[0, 0]

    _, step_S = jax.lax.scan(step, solver.init(jnp.zeros((8, 1), jnp.bfloat16)), length=5000)
    found = -np.asarray(step_S, np.float64)[[999, 4999]]
    # m of bfloat16 rests where a step of a tenth rounds to nothing, 2% below 1.
    expected = [1000**-0.5, 5000**-0.5] if name == "adagrad_star" else [1.0, 1.0]
    np.testing.assert_allclose(found, expected, rtol=0.02)


@every_star
def test_a_step_has_finite_derivatives_where_there_is_no_gradient(name):
    solver = STARRED[name](0.1)
    params = jnp.zeros((8, 4))

    def moved(shift):
        return solver.update(params + shift, solver.init(params), params)[0].sum()

    assert jnp.isfinite(jax.grad(moved)(0.0))


def test_a_clipped_gradient_has_finite_derivatives_where_it_is_0():
    clip = clip_by_functional_norm(1.0)

    def clipped(shift):
        return clip.update(jnp.zeros((8, 4)) + shift, optax.EmptyState())[0].sum()

    assert jax.grad(clipped)(0.0) == 32


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.float32])
@every_alias
def test_no_size_of_gradient_is_answered_with_nan(name, dtype):
    solver = ALIASES[name](0.1)
    update = jax.jit(solver.update)
    for share in (0.0, 1e-4, 1e-2):
        g_HxE = jnp.linspace(-1, 1, 12).reshape(4, 3).astype(dtype)
        g_HxE = g_HxE * jnp.asarray(share * float(jnp.finfo(dtype).max), dtype)
        state = solver.init(g_HxE)
        for _ in range(3):
            updates, state = update(g_HxE, state)
            assert updates.dtype == dtype
            assert not jnp.isnan(updates).any()


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1e12, 1e25])
def test_clipping_and_muon_know_gradients_whose_squares_no_float_holds(size):
    g_HxE = jnp.asarray(np.random.default_rng(0).normal(size=(50, 4)), jnp.float32)
    clip = clip_by_functional_norm(size)
    unit, _ = clip_by_functional_norm(1.0).update(g_HxE, optax.EmptyState())
    clipped, _ = clip.update(g_HxE * size, optax.EmptyState())
    np.testing.assert_allclose(clipped / size, unit, rtol=1e-5)
    muon = scale_by_muon_star()
    expected, _ = muon.update(g_HxE, muon.init(g_HxE))
    found, _ = muon.update(g_HxE * size, muon.init(g_HxE))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@every_star
def test_eps_of_0_moves_nothing_where_there_is_no_gradient(name):
    solver = (optim.muon_star if name == "muon_star" else STARRED[name])(0.1, eps=0.0)
    g_HxE = jnp.ones((4, 3)).at[:, 1].set(0.0)
    updates, _ = solver.update(g_HxE, solver.init(g_HxE))
    np.testing.assert_array_equal(updates[:, 1], np.zeros(4))
    assert np.isfinite(updates).all()


STACKED = {
    **{name: lambda axis, make=make: make(0.1, width_axis=axis) for name, make in STARRED.items()},
    **{
        f"adam_star-{name}": lambda axis, name=name: adam_star(
            0.1, second_moment=name, width_axis=axis
        )
        for name in SECOND_MOMENTS
    },
    "on_measured_scales": lambda axis: on_measured_scales(
        optax.identity(), hold_after=None, width_axis=axis
    ),
    "clip_by_functional_norm": lambda axis: clip_by_functional_norm(0.5, axis),
}


@pytest.mark.parametrize("name", STACKED)
@pytest.mark.parametrize("layers", [0, -1])
def test_of_stacked_layers_each_is_a_layer_of_its_own(name, layers):
    rng = np.random.default_rng(0)
    g_LxHxE = rng.normal(size=(3, 6, 4)) * np.array([0.1, 1.0, 10.0])[:, None, None]
    g_LxHxE = jnp.asarray(g_LxHxE, jnp.float32)

    def second_step(solver):
        def of(g):
            _, state = solver.update(g, solver.init(g), g)
            return solver.update(g**2, state, g)[0]

        return jax.jit(of)

    alone = second_step(STACKED[name](0))
    expected = [alone(g_HxE) for g_HxE in g_LxHxE]
    # H comes after L at the front, and first where L is last.
    stacked = second_step(STACKED[name](Stacked(width=1 if layers == 0 else 0, layers=layers)))
    found = np.moveaxis(stacked(jnp.moveaxis(g_LxHxE, 0, layers)), layers, 0)
    np.testing.assert_allclose(found, jnp.stack(expected), rtol=1e-4, atol=1e-5)


def test_axes_that_are_named_twice_are_one_clear_line():
    with pytest.raises(ValueError, match=r"names an axis twice for .* of shape \(2, 3, 4"):
        adam_star(0.1, width_axis=Stacked(width=-3)).init(jnp.ones((2, 3, 4)))


WIDTH_AXES = {
    "none": None,
    "tree": {"matrix": 0, "vector": 0, "cube": 1},
    "function": lambda params: {"matrix": 0, "vector": 0, "cube": 1},
    "stacked": {"matrix": 0, "vector": 0, "cube": Stacked(1)},
}


@pytest.mark.parametrize("axis", WIDTH_AXES.values(), ids=WIDTH_AXES)
@every_star
def test_parameters_are_found_in_a_state_whatever_form_the_width_axis_has(name, axis):
    params, _, _ = target()
    solver = STARRED[name](0.1, width_axis=axis)
    state = solver.init(params)
    moved = optax.tree_utils.tree_map_params(solver, lambda leaf: leaf + 1, state)
    added = jax.tree.map(lambda new, old: float((new - old).mean()), moved, state)
    kinds = [optax.tree.get_all_with_path(added, key) for key in ("mu", "nu", "sum_of_squares")]
    assert {value for found in kinds for _, tree in found for value in jax.tree.leaves(tree)} == {1}


@pytest.mark.parametrize("axis", WIDTH_AXES.values(), ids=WIDTH_AXES)
@every_star
def test_masked_leaves_are_left_alone_whatever_form_the_width_axis_has(name, axis):
    params, goal, _ = target()
    mask = {"matrix": True, "vector": False, "cube": True}
    solver = optax.masked(STARRED[name](0.1, width_axis=axis), mask)
    state = solver.init(params)
    updates, _ = jax.jit(solver.update)(goal, state, params)
    np.testing.assert_array_equal(updates["vector"], goal["vector"])
    assert (updates["matrix"] != goal["matrix"]).any()
    optax.tree_utils.tree_map_params(solver, lambda leaf: leaf, state)


@jax.tree_util.register_pytree_node_class
class Linear:
    """A module as in equinox: a pytree that can be called."""

    def __init__(self, weight, bias):
        self.weight, self.bias = weight, bias

    def __call__(self, x):
        raise AssertionError("a tree of axes is not called")

    def tree_flatten(self):
        return (self.weight, self.bias), None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        return cls(*leaves)


@every_star
def test_a_module_that_can_be_called_may_hold_the_axes(name):
    params = Linear(jnp.ones((3, 8)), jnp.ones(8))
    axes = Linear(1, 0)
    solver = STARRED[name](0.1, width_axis=axes)
    updates, _ = solver.update(params, solver.init(params), params)
    assert updates.weight.shape == (3, 8)


@every_star
def test_a_leaf_without_a_width_is_one_clear_line_that_says_what_to_do(name):
    with pytest.raises(ValueError, match=r"\['b'\] of shape \(\): .* by optax.partition") as caught:
        STARRED[name](0.1).init({"a": jnp.ones((2, 2)), "b": jnp.ones(())})
    assert "\n" not in str(caught.value)


def test_states_keep_the_sharding_of_parameters_on_several_devices():
    done = subprocess.run(
        [sys.executable, "-m", "tests.optim.on_four_devices"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
