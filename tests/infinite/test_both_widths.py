# SPDX-License-Identifier: Apache-2.0
"""One name means one thing: `infwidth.optim` and `infwidth.infinite` take the same arguments."""

import inspect

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from infwidth import infinite, optim

ONLY_OF_PARAMETERS = {"mask", "width_axis"}
"""Of entries that an array has, and coefficients have not."""

IN_BOTH = sorted(name for name in set(optim.__all__) & set(infinite.__all__) if name[0].islower())
ALIASES = [name for name in IN_BOTH if not name.startswith(("scale_by", "clip"))]
NAMESAKES = {
    "adam_star": optax.adam,
    "nadam_star": optax.nadam,
    "rmsprop_star": optax.rmsprop,
    "adagrad_star": optax.adagrad,
    "sgd": optax.sgd,
    "scale_by_adam_star": optax.scale_by_adam,
    "scale_by_rms_star": optax.scale_by_rms,
    "scale_by_adagrad_star": optax.scale_by_rss,
}


def gradient_of(delta):
    """Of a batch of two of four examples."""
    return infinite.FunctionalGradient(
        jnp.full((2, 3), delta), jnp.arange(2), jnp.eye(2), jnp.eye(2, 4)
    )


def arguments(function, without=frozenset()):
    """Names, kinds and defaults, in order."""
    return [
        (parameter.name, parameter.kind, parameter.default)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name not in without
    ]


def test_every_rule_is_there_at_both_widths():
    for module, others in ((optim, infinite), (infinite, optim)):
        names = {name for name in module.__all__ if name.endswith("_star") or name == "sgd"}
        assert names <= set(others.__all__)
    assert {name.removeprefix("scale_by_") for name in IN_BOTH} >= {"adam_star", "muon_star"}


@pytest.mark.parametrize("name", IN_BOTH)
def test_both_widths_take_the_same_arguments(name):
    finite = arguments(getattr(optim, name), ONLY_OF_PARAMETERS)
    assert finite == arguments(getattr(infinite, name))


@pytest.mark.parametrize("name", NAMESAKES)
def test_positional_arguments_are_those_of_optax(name):
    positional = [
        argument
        for argument, kind, _ in arguments(getattr(optim, name))
        if kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    original = list(inspect.signature(NAMESAKES[name]).parameters)
    assert original[: len(positional)] == positional


@pytest.mark.parametrize("name", ALIASES)
@pytest.mark.parametrize("rate", [0.1, lambda count: 0.1 + 0.0 * jnp.asarray(count, float)])
def test_weight_decay_is_times_the_learning_rate(name, rate):
    # G = 0 and M = 1: a step is −η λ M = −0.01, whatever the rule and its momentum.
    words = {"momentum": 0.5} if name in ("sgd", "rmsprop_star") else {}
    finite = getattr(optim, name)(rate, weight_decay=0.1, **words)
    m_HxE = jnp.ones((4, 3))
    state = finite.init(m_HxE)
    for _ in range(2):
        step, state = finite.update(jnp.zeros((4, 3)), state, m_HxE)
        np.testing.assert_allclose(step, np.full((4, 3), -0.01), rtol=1e-6)
    solver = getattr(infinite, name)(rate, weight_decay=0.1)
    c_NxE = jnp.ones((4, 3))
    updates, _ = solver.update(gradient_of(0.0), solver.init(c_NxE), c_NxE)
    moved = infinite.apply_updates(c_NxE, updates) - c_NxE
    np.testing.assert_allclose(moved, np.full((4, 3), -0.01), rtol=1e-5)


@pytest.mark.parametrize("name", ["adam_star", "nadam_star", "muon_star"])
def test_the_first_moment_is_kept_in_the_type_that_is_asked_for(name):
    solver = getattr(infinite, name)(0.1, mu_dtype=jnp.bfloat16)
    c_NxE = jnp.zeros((4, 3))
    updates, state = solver.update(gradient_of(1.0), solver.init(c_NxE), c_NxE)
    assert optax.tree.get(state, "mu_NxE").dtype == jnp.bfloat16
    assert updates.dtype == jnp.float32
