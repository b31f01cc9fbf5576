# SPDX-License-Identifier: Apache-2.0
"""The variants' optimizer: arithmetic, memory, independence of width, units.

Shapes: N inputs, H width, D+1 inputs of a feature, E outputs.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from infwidth.config.errors import UserError
from infwidth.config.variants import ABLATIONS, ALL_VARIANTS, VARIANTS, Variant
from infwidth.training.rules import (
    Hyperparameters,
    group_transforms,
    in_gradients,
    learning_rates,
    schedule,
    sgd_unit,
)
from tests.optim.oracle import Rule
from tests.training.conftest import forty_steps

settings_of = partial(forty_steps, warmup_steps=8, log_every=1)
STEPS, D1 = 40, 5
SHAPES = {
    "trunk": {"embedding": (7, 3), "scale": (4,)},
    "features": {"layer0": (8, D1), "layer1": (6, D1)},
    "readout": {"layer0": (8, 4), "layer1": (6, 4)},
}
MLP_GROUPS = ("features", "readout")


def random_groups(rng, size=1.0):
    return {
        group: {name: size * rng.normal(size=shape) for name, shape in leaves.items()}
        for group, leaves in SHAPES.items()
    }


def step(transforms, rates, params, gradients, states):
    new_params, new_states = dict(params), {}
    for group, transform in transforms.items():
        directions, new_states[group] = transform.update(
            gradients[group], states[group], params[group]
        )
        moves = jax.tree.map(lambda u, rate=rates[group]: -rate * u, directions)
        new_params[group] = optax.apply_updates(params[group], moves)
    return new_params, new_states


def initial(transforms, params):
    return {group: transforms[group].init(params[group]) for group in transforms}


def numpy_schedule(count, training):
    if count < training.warmup_steps:
        return count / training.warmup_steps
    progress = (count - training.warmup_steps) / (training.steps - training.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return training.final_fraction + (1 - training.final_fraction) * cosine


def numpy_training(variant, training, rate, params, gradients):
    """The whole optimizer in float64, leaf by leaf; how many norms were clipped, of how many."""
    named = {"trunk": "adam", "features": variant.features, "readout": variant.readout}
    named = {group: rule for group, rule in named.items() if rule in ("adam", "sgd", "adam_star")}
    star = {"adam_star": "per_output"}
    rules = {
        (group, name): Rule(star.get(rule, rule), training.b1, training.b2, training.eps)
        for group, rule in named.items()
        for name in SHAPES[group]
    }
    params = {group: dict(leaves) for group, leaves in params.items()}
    clipped = 0
    for count, gradient in enumerate(gradients):
        trunk_norm = math.sqrt(sum(np.sum(g**2) for g in gradient["trunk"].values()))
        for (group, name), rule in rules.items():
            g, norm = gradient[group][name], trunk_norm
            if group in MLP_GROUPS:
                g = g * len(g)
                norm = math.sqrt(np.sum(g**2) / len(g))
            if training.clip_norm is not None and norm > training.clip_norm:
                g, clipped = g * (training.clip_norm / norm), clipped + 1
            move = numpy_schedule(count, training) * rate[group] * rule.direction(g)
            params[group][name] = params[group][name] - move
    return params, clipped, len(gradients) * len(rules)


@pytest.mark.parametrize(
    ("name", "clip_norm", "precision"),
    [
        *((name, 6.0, 64) for name in ("unfrozen", "frozen", "ntk", "adam_star", "constant")),
        ("unfrozen", None, 64),
        *((name, 6.0, 32) for name in ("unfrozen", "ntk", "adam_star")),
    ],
)
def test_equals_the_float64_oracle(name, clip_norm, precision):
    variant, training = VARIANTS[name], settings_of(clip_norm=clip_norm)
    rng = np.random.default_rng(0)
    start = random_groups(rng)
    gradients = [random_groups(rng, np.exp(rng.normal())) for _ in range(STEPS)]
    peak = Hyperparameters(trunk=0.01, readout=0.03, kappa=2.0)
    rate = {"trunk": 0.01, "readout": 0.03, "features": 2.0 * math.sqrt(D1) * 0.01}
    if precision == 32:
        gradients = jax.tree.map(lambda g: g.astype(np.float32).astype(np.float64), gradients)
    expected, clipped, norms = numpy_training(variant, training, rate, start, gradients)
    assert (clipped > 0) == (clip_norm is not None)
    assert clipped < norms

    with jax.enable_x64(precision == 64):
        as_arrays = lambda tree: jax.tree.map(lambda x: jnp.asarray(x, float), tree)  # noqa: E731
        transforms, curve = group_transforms(variant, training), schedule(training)
        hyperparameters, params = as_arrays(peak), as_arrays(start)
        states = initial(transforms, params)

        @jax.jit
        def train_step(count, params, gradient, states):
            rates = learning_rates(hyperparameters, curve(count), D1)
            return step(transforms, rates, params, gradient, states)

        for count, gradient in enumerate(gradients):
            params, states = train_step(jnp.int32(count), params, as_arrays(gradient), states)
    # float32: 40 steps of at most 0.3 (SGD) on numbers of size 1, each with a relative error of
    # 6e-8 / (1 − β2) = 3e-6 while the bias correction is fresh.
    tolerance = {"atol": 1e-12} if precision == 64 else {"atol": 2e-6, "rtol": 2e-6}
    for group, leaves in expected.items():
        for leaf, value in leaves.items():
            np.testing.assert_allclose(params[group][leaf], value, **tolerance)


def mean_field(width, copies=1):
    """An MLP in the mean-field scaling, M ≠ 0 so that features have a gradient, units repeated."""
    keys = jax.random.split(jax.random.key(0), 4)
    omega_HxD1 = jax.random.normal(keys[0], (width, D1))
    m_HxE = jax.random.normal(keys[1], (width, 3))
    x_NxD1 = jnp.ones((64, D1)).at[:, :-1].set(jax.random.normal(keys[2], (64, D1 - 1)))
    y_NxE = jax.random.normal(keys[3], (64, 3))
    params = {
        "trunk": {"shift": jnp.zeros(3)},
        "features": {"layer": jnp.tile(omega_HxD1, (copies, 1))},
        "readout": {"layer": jnp.tile(m_HxE, (copies, 1))},
    }

    def loss(params):
        omega, m = params["features"]["layer"], params["readout"]["layer"]
        g_NxH = jax.nn.relu(x_NxD1 @ omega.T / math.sqrt(D1))
        shift_NxE = jnp.broadcast_to(params["trunk"]["shift"], y_NxE.shape)
        return jnp.mean(jnp.square(g_NxH @ m / len(m) + shift_NxE - y_NxE))

    return params, loss


@pytest.mark.parametrize("name", ["unfrozen", "ntk", "adam_star"])
@pytest.mark.parametrize(
    "changes", [{}, {"eps": 0.1}, {"clip_norm": 0.02}], ids=["plain", "eps", "clip"]
)
def test_widths_16_and_16384_train_alike(name, changes):
    """A width of 16 repeated 1,024 times is the same function, and must stay it in training."""
    training = settings_of(**changes)
    transforms = group_transforms(VARIANTS[name], training)
    rates = {"trunk": 0.01, "features": 0.03, "readout": 0.3}
    trained = []
    # In float64, so that five large steps carry on no rounding that could hide a difference.
    with jax.enable_x64(True):
        for copies in (1, 1024):
            params, loss = mean_field(16, copies)
            states = initial(transforms, params)
            move = jax.jit(lambda p, s, loss=loss: step(transforms, rates, p, jax.grad(loss)(p), s))
            for _ in range(5):
                params, states = move(params, states)
            trained.append(params)
    narrow, wide = trained
    for group in MLP_GROUPS:
        repeated = np.tile(narrow[group]["layer"], (1024, 1))
        np.testing.assert_allclose(wide[group]["layer"], repeated, rtol=1e-10, atol=1e-10)


OF_EACH_RULE = {row.readout: name for name, row in (VARIANTS | ABLATIONS).items()}


@pytest.mark.parametrize("rule", sorted(OF_EACH_RULE.keys() - {"none", "adam_star_factored"}))
def test_every_rule_starts_with_steps_of_the_size_that_is_said(rule):
    params, loss = mean_field(64)
    gradients = jax.jit(jax.grad(loss))(params)["readout"]
    variant, training = ALL_VARIANTS[OF_EACH_RULE[rule]], settings_of()
    transform = group_transforms(variant, training)["readout"]
    first = jax.jit(lambda g: transform.update(g, transform.init(g))[0])
    direction = first(gradients)["layer"]
    if in_gradients(rule):
        direction = sgd_unit(jax.tree.map(lambda g: 64 * g, gradients)) * direction
    b1, b2 = training.b1, training.b2
    expected = {
        "nadam_star": (1 + 2 * b1) / (1 + b1),
        "nadam": (1 + 2 * b1) / (1 + b1),
        "adam_star_uncorrected": (1 - b1) / math.sqrt(1 - b2),
    }.get(rule, 1.0)
    # Adam moves all but the units that see no input; Muon adds 1e-4 to each mean eigenvalue.
    tolerance = 0.05 if rule in ("adam", "nadam", "muon_star") else 1e-5
    assert np.sqrt(np.mean(np.square(direction))) == pytest.approx(expected, rel=tolerance)


def test_the_trunk_may_train_by_sgd():
    transforms = group_transforms(VARIANTS["ntk"], settings_of(trunk_optimizer="sgd"))
    gradient = {"embedding": jnp.full((7, 3), 0.5), "scale": jnp.full(4, 2.0)}
    moves, state = transforms["trunk"].update(gradient, transforms["trunk"].init(gradient))
    jax.tree.map(np.testing.assert_array_equal, moves, gradient)
    assert not jax.tree.leaves(state)


def test_the_unit_of_sgd_is_over_all_readouts():
    gradients = {"a": jnp.full((4, 3), 2.0), "b": jnp.full((6, 2), 4.0)}
    assert float(sgd_unit(gradients)) == pytest.approx(1 / math.sqrt(10), rel=1e-6)


@pytest.mark.parametrize("warmup_steps", [0, 8])
def test_the_schedule_warms_up_and_falls_along_a_cosine(warmup_steps):
    training = settings_of(warmup_steps=warmup_steps, final_fraction=0.2)
    curve = schedule(training)
    found = [float(curve(jnp.int32(count))) for count in range(STEPS + 5)]
    expected = [numpy_schedule(count, training) for count in range(STEPS + 5)]
    np.testing.assert_allclose(found, expected, atol=3e-7)
    assert max(found) == 1.0
    assert found[warmup_steps] == 1.0
    assert found[-1] == pytest.approx(0.2)


def test_unclipped_errors_do_not_go_with_clipped_gradients():
    with pytest.raises(UserError, match=r"set training\.clip_norm to null"):
        group_transforms(ALL_VARIANTS["adam_star_error"], settings_of(clip_norm=1.0))


def test_on_measured_scales_the_norm_is_that_of_the_scaled_gradient():
    training = settings_of(clip_norm=2.0)
    rule = group_transforms(ALL_VARIANTS["ntk_measured"], training)["readout"]
    g_HxE = jnp.asarray(np.random.default_rng(0).normal(size=(8, 4)), jnp.float32)
    r_H = np.array([4.0, 1.0, 1.0, 2.0, 0.0, 4.0, 2.0, 2.0])
    state = optax.tree.set(rule.init(g_HxE), mean_square=jnp.asarray(r_H, jnp.float32))
    s_H = np.maximum(r_H / 2, 1e-6)[:, None]
    scaled = 8 * np.asarray(g_HxE) / s_H**0.25
    norm = np.sqrt(np.sum(scaled**2) / 8)
    assert norm > 2
    found, _ = rule.update(g_HxE, state)
    np.testing.assert_allclose(found, scaled * (2 / norm) / s_H**0.25, rtol=1e-5)


def test_an_unknown_rule_is_named():
    unknown = Variant("fixed", "newton", "", "")
    with pytest.raises(KeyError, match="newton"):
        group_transforms(unknown, settings_of())
