# SPDX-License-Identifier: Apache-2.0
"""Training coefficients of the empirical kernel is training M with the features it is made of.

Shapes: N examples, P inputs looked at, H features, E outputs, S steps, K examples a batch.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from infwidth import infinite, optim
from tests.infinite import parameter_space
from tests.infinite.parameter_space import Rule

EXAMPLES, OTHERS, WIDTH, OUTPUTS, STEPS, BATCH = 10, 5, 9, 3, 40, 8
# 40 steps of float64, some hundred operations each; what differs is the order of the sums.
ROUNDING = {"rtol": 1e-10, "atol": 1e-11}
RNG = np.random.default_rng(0)
OMEGA_HxD = RNG.normal(size=(WIDTH, 4))
X_PxD = RNG.normal(size=(EXAMPLES + OTHERS, 4))
# Outputs of different sizes, so that one v for all of them is another rule than one for each.
TARGET_NxE = RNG.normal(size=(EXAMPLES, OUTPUTS)) * np.array([1.0, 3.0, 0.1])
BATCH_SxK = RNG.integers(EXAMPLES, size=(STEPS, BATCH))


def g(x_MxD):
    return np.maximum(np.asarray(x_MxD) @ OMEGA_HxD.T / 2, 0)


def empirical(x_MxD, y_MxD):
    omega_DxH = jnp.asarray(OMEGA_HxD.T)
    g_x, g_y = (jax.nn.relu(z @ omega_DxH / 2) for z in (x_MxD, y_MxD))
    return g_x @ g_y.T / WIDTH


def examples(**options):
    with jax.enable_x64(True):
        return infinite.Readout(empirical, X_PxD[:EXAMPLES], OUTPUTS, **options)


def half_square(f_KxE, target_KxE):
    return jnp.sum(jnp.square(f_KxE - target_KxE)) / (2 * f_KxE.shape[0])


def falling(count):
    return 1 - 0.8 * count.astype(float) / STEPS


def in_coefficients(solver):
    """f at all inputs after every step, a step a call."""
    readout = examples()
    with jax.enable_x64(True):
        state, found = readout.init(solver), []
        for batch_K in BATCH_SxK:
            state, _ = readout.train(solver, half_square, TARGET_NxE, batch_K[None], state)
            found.append(np.asarray(readout(state.coefficients_NxE, X_PxD)))
    return np.array(found)


def in_arrays(solver):
    """The same by optax on M."""
    g_PxH, target_NxE = g(X_PxD), TARGET_NxE
    solver = optax.chain(optim.scale_by_width(), solver)

    def loss(m_HxE, batch_K):
        return half_square(g_PxH[batch_K] @ m_HxE / WIDTH, target_NxE[batch_K])

    def step(carry, batch_K):
        m_HxE, state = carry
        updates, state = solver.update(jax.grad(loss)(m_HxE, batch_K), state, m_HxE)
        m_HxE = optax.apply_updates(m_HxE, updates)
        return (m_HxE, state), g_PxH @ m_HxE / WIDTH

    with jax.enable_x64(True):
        g_PxH, target_NxE, m_HxE = map(jnp.asarray, (g_PxH, target_NxE, np.zeros((WIDTH, OUTPUTS))))
        return np.asarray(jax.lax.scan(step, (m_HxE, solver.init(m_HxE)), BATCH_SxK)[1])


def expected_of(rule, scheduled):
    schedule_S = [1 - 0.8 * s / STEPS if scheduled else 1.0 for s in range(STEPS)]
    g_PxH = g(X_PxD)
    return parameter_space.train(rule, schedule_S, g_PxH[:EXAMPLES], TARGET_NxE, BATCH_SxK, g_PxH)


MOMENTS = ("per_output", "global", "error")
ADAM = {"b1": 0.8, "b2": 0.95, "eps": 1e-3}
RMS = {"decay": 0.7, "eps": 1e-3}
SOLVERS = {
    "sgd": (Rule("sgd"), {}),
    **{
        f"adam_star {moment}": (Rule("adam_star", moment, **ADAM), ADAM | {"second_moment": moment})
        for moment in MOMENTS
    },
    **{
        f"rmsprop_star {moment}": (
            Rule("rmsprop_star", moment, b2=0.7, eps=1e-3),
            RMS | {"second_moment": moment},
        )
        for moment in MOMENTS
    },
    "rmsprop_star corrected": (Rule("rms_star", b2=0.7, eps=1e-3), RMS | {"bias_correction": True}),
    "adam_star uncorrected": (Rule("uncorrected", **ADAM), ADAM | {"bias_correction": False}),
    "nadam_star": (Rule("nadam_star", **ADAM), ADAM),
    "adagrad_star": (Rule("adagrad_star", eps=1e-3), {"eps": 1e-3}),
    "muon_star": (Rule("muon_star", b1=0.8, eps=1e-3), {"b1": 0.8, "eps": 1e-3}),
    "eigenpro": (Rule("eigenpro", components=3), {"components": 3}),
}
"""The oracle's rule, and the arguments of the alias that the first word names."""


def made(name, library, rate=0.1, **more):
    """The alias of a library, infinite or optim; None where that has none."""
    if library is optim and ("error" in name or name == "eigenpro"):
        return None
    data = (examples(),) if name == "eigenpro" else ()
    return getattr(library, name.split()[0])(rate, *data, **SOLVERS[name][1], **more)


def check(rule, in_kernel, in_parameters, scheduled=False):
    """Both train to the oracle's values of f."""
    expected, clipped_S = expected_of(rule, scheduled)
    assert 0 < clipped_S.sum() < STEPS or rule.max_norm is None
    np.testing.assert_allclose(in_coefficients(in_kernel), expected, **ROUNDING)
    if in_parameters is not None:
        np.testing.assert_allclose(in_arrays(in_parameters), expected, **ROUNDING)


def test_some_examples_stand_in_one_batch_twice():
    assert any(len(set(batch_K)) < BATCH for batch_K in BATCH_SxK)


@pytest.mark.parametrize("name", SOLVERS)
def test_parameter_space_is_kernel_space_under_a_schedule_and_decay(name):
    more = {"rate": lambda count: 0.1 * falling(count), "weight_decay": 1.0}
    rule = replace(SOLVERS[name][0], weight_decay=1.0)
    check(rule, *(made(name, library, **more) for library in (infinite, optim)), scheduled=True)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("name", ["sgd", "rmsprop_star per_output", "eigenpro"])
def test_momentum_in_parameter_space_is_momentum_in_kernel_space(name, nesterov):
    more = {"momentum": 0.7, "nesterov": nesterov}
    rule = replace(SOLVERS[name][0], **more)
    check(rule, *(made(name, library, **more) for library in (infinite, optim)))


@pytest.mark.parametrize(
    "name", ["sgd", *(f"adam_star {moment}" for moment in MOMENTS), "eigenpro"]
)
def test_a_clipped_chain_reads_the_same_at_both_widths(name):
    solvers = []
    for library, of_chain in ((infinite, infinite), (optim, optax)):
        solver = made(name, library, lambda count: 0.1 * falling(count))
        clip = library.clip_by_functional_norm(0.3)
        solvers.append(solver and of_chain.chain(clip, solver))
    check(replace(SOLVERS[name][0], max_norm=0.3), *solvers, scheduled=True)


def test_a_chain_of_ones_own_reads_the_same_at_both_widths():
    solvers = (
        of_chain.chain(
            library.scale_by_adam_star(**ADAM),
            of_chain.scale_by_learning_rate(lambda count: 0.1 * falling(count)),
        )
        for library, of_chain in ((infinite, infinite), (optim, optax))
    )
    check(SOLVERS["adam_star per_output"][0], *solvers, scheduled=True)


NO_GRADIENT = infinite.FunctionalGradient(
    jnp.zeros((2, 3)), jnp.arange(2), jnp.eye(2), jnp.eye(2, 4)
)


def test_no_gradient_moves_nothing():
    c_NxE = jnp.ones((4, 3))
    for solver in (
        infinite.sgd(1.0, momentum=0.9),
        infinite.adam_star(1.0),
        infinite.rmsprop_star(1.0),
        infinite.nadam_star(1.0),
        infinite.adagrad_star(1.0),
        infinite.muon_star(1.0),
        infinite.eigenpro(1.0, infinite.Readout(empirical, X_PxD[:4], 3)),
        infinite.chain(infinite.clip_by_functional_norm(1.0), infinite.sgd(1.0)),
    ):
        updates, _ = solver.update(NO_GRADIENT, solver.init(c_NxE), c_NxE)
        assert (infinite.apply_updates(c_NxE, updates) == c_NxE).all()


REFUSED = [
    *("adagrad", "adam", "adamw", "clip", "lion", "nadam", "rmsprop"),
    *("scale_by_adam", "scale_by_rms", "scale_by_rss", "scale_by_sign", "sign_sgd"),
]


@pytest.mark.parametrize("name", REFUSED)
def test_rules_that_leave_the_span_are_refused_with_the_reason(name):
    with pytest.raises(ValueError, match=f"^{name} has no kernel form: .*; use "):
        getattr(infinite, name)(1e-3)


@pytest.mark.parametrize("name", ["adam_star", "rmsprop_star", "nadam_star", "adagrad_star"])
@pytest.mark.parametrize(
    ("second_moment", "line"),
    [
        ("factored", "'factored' has no kernel form: it differs"),
        ("elementwise", "'elementwise' has no kernel form: it differs"),
        ("x", "one of per_output, global, error, not 'x'"),
    ],
)
def test_second_moments_of_single_units_and_unknown_ones_are_refused(name, second_moment, line):
    with pytest.raises(ValueError, match=line):
        getattr(infinite, name)(0.1, second_moment=second_moment)


@pytest.mark.parametrize("stranger", [optax.adam(0.1), optax.clip(1.0), optim.adam_star(0.1)])
def test_transformations_of_arrays_are_refused_in_a_chain(stranger):
    with pytest.raises(ValueError, match=r"argument 1 .* acts on the entries of an array"):
        infinite.chain(infinite.clip_by_functional_norm(1.0), stranger)


def after_momentum(make):
    return lambda: infinite.chain(infinite.trace(0.9), make())


@pytest.mark.parametrize(
    ("make", "line"),
    [
        *(
            (after_momentum(late), "needs the gradient of the batch; put it before")
            for late in (
                lambda: infinite.clip_by_functional_norm(1.0),
                infinite.scale_by_adam_star,
                infinite.scale_by_rms_star,
                infinite.scale_by_adagrad_star,
                infinite.scale_by_muon_star,
                lambda: infinite.scale_by_eigenpro(examples()),
            )
        ),
        (lambda: infinite.muon_star(0.1), "give FunctionalGradient its theta_KxN"),
        (lambda: infinite.sgd(0.1, weight_decay=0.1), "needs the coefficients"),
    ],
)
def test_what_a_rule_needs_and_is_not_given_is_named(make, line):
    with jax.enable_x64(True):
        solver = make()
    with pytest.raises(ValueError, match=line):
        solver.update(NO_GRADIENT._replace(theta_KxN=None), solver.init(jnp.zeros((4, 3))))
