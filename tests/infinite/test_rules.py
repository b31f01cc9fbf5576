# SPDX-License-Identifier: Apache-2.0
"""Training coefficients of the empirical kernel is training M with the features it is made of.

Shapes: N examples, P inputs looked at, H features, E outputs, S steps, K examples a batch.
"""

import doctest
import importlib
from functools import partial

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


def in_parameters(rule, scheduled):
    schedule_S = [1 - 0.8 * s / STEPS if scheduled else 1.0 for s in range(STEPS)]
    g_PxH = g(X_PxD)
    return parameter_space.train(rule, schedule_S, g_PxH[:EXAMPLES], TARGET_NxE, BATCH_SxK, g_PxH)


MOMENTS = ("per_output", "global", "error")
ADAM = {"b1": 0.8, "b2": 0.95, "eps": 1e-3}
SOLVERS = {
    "sgd": (Rule(), lambda rate=0.1, **end: infinite.sgd(rate, **end)),
    **{
        f"adam_star {moment}": (
            Rule(moment, **ADAM),
            lambda rate=0.1, moment=moment, **end: infinite.adam_star(
                rate, 0.8, 0.95, 1e-3, second_moment=moment, **end
            ),
        )
        for moment in MOMENTS
    },
    **{
        f"rmsprop_star {moment}": (
            Rule(moment, b2=0.7, eps=1e-3, corrected=False),
            lambda rate=0.1, moment=moment, **end: infinite.rmsprop_star(
                rate, 0.7, 1e-3, second_moment=moment, **end
            ),
        )
        for moment in MOMENTS
    },
    "rmsprop_star corrected": (
        Rule("per_output", b2=0.7, eps=1e-3),
        lambda rate=0.1, **end: infinite.rmsprop_star(rate, 0.7, 1e-3, bias_correction=True, **end),
    ),
    "adam_star uncorrected": (
        Rule("per_output", **ADAM, corrected=False),
        lambda rate=0.1, **end: infinite.adam_star(
            rate, 0.8, 0.95, 1e-3, bias_correction=False, **end
        ),
    ),
    "nadam_star": (
        Rule("per_output", "nadam", **ADAM),
        lambda rate=0.1, **end: infinite.nadam_star(rate, 0.8, 0.95, 1e-3, **end),
    ),
    "adagrad_star": (
        Rule("per_output", "adagrad", eps=1e-3),
        lambda rate=0.1, **end: infinite.adagrad_star(rate, eps=1e-3, **end),
    ),
    "muon_star": (
        Rule(kind="muon", b1=0.8, eps=1e-3),
        lambda rate=0.1, **end: infinite.muon_star(rate, 0.8, 1e-3, **end),
    ),
    "eigenpro": (
        Rule(kind="eigenpro", components=3),
        lambda rate=0.1, **end: infinite.eigenpro(rate, examples(), 3, **end),
    ),
}


def changed(rule, **changes):
    return Rule(**(vars(rule) | changes))


def test_some_examples_stand_in_one_batch_twice():
    assert any(len(set(batch_K)) < BATCH for batch_K in BATCH_SxK)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("max_norm", [None, 0.3])
def test_parameter_space_is_kernel_space_under_schedule_decay_and_clipping(name, max_norm):
    rule, make = SOLVERS[name]
    solver = make(lambda count: 0.1 * falling(count), weight_decay=1.0)
    if max_norm is not None:
        solver = infinite.chain(infinite.clip_by_functional_norm(max_norm), solver)
    expected, clipped_S = in_parameters(
        changed(rule, weight_decay=1.0, max_norm=max_norm), scheduled=True
    )
    assert 0 < clipped_S.sum() < STEPS or max_norm is None
    np.testing.assert_allclose(in_coefficients(solver), expected, **ROUNDING)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("name", ["sgd", "rmsprop_star per_output", "eigenpro"])
def test_momentum_in_parameter_space_is_momentum_in_kernel_space(name, nesterov):
    rule, make = SOLVERS[name]
    expected, _ = in_parameters(changed(rule, momentum=0.7, nesterov=nesterov), scheduled=False)
    solver = make(momentum=0.7, nesterov=nesterov)
    np.testing.assert_allclose(in_coefficients(solver), expected, **ROUNDING)


@pytest.mark.parametrize("second_moment", ["per_output", "global"])
def test_one_chain_reads_the_same_at_both_widths(second_moment):
    def chain_of(library, adam_star, *first):
        return library.chain(
            *first,
            adam_star.clip_by_functional_norm(0.3),
            adam_star.scale_by_adam_star(0.8, 0.95, 1e-3, second_moment=second_moment),
            library.scale_by_learning_rate(lambda count: 0.1 * falling(count)),
        )

    def loss(m_HxE, batch_K):
        g_KxH = jnp.asarray(g(X_PxD))[batch_K]
        return half_square(g_KxH @ m_HxE / WIDTH, jnp.asarray(TARGET_NxE)[batch_K])

    with jax.enable_x64(True):
        solver = chain_of(optax, optim, optim.scale_by_width())
        m_HxE = jnp.zeros((WIDTH, OUTPUTS))
        state = solver.init(m_HxE)
        expected = []
        for batch_K in BATCH_SxK:
            updates, state = solver.update(jax.grad(loss)(m_HxE, batch_K), state)
            m_HxE = optax.apply_updates(m_HxE, updates)
            expected.append(g(X_PxD) @ np.asarray(m_HxE) / WIDTH)
    found = in_coefficients(chain_of(infinite, infinite))
    np.testing.assert_allclose(found, np.array(expected), **ROUNDING)


def test_no_gradient_moves_nothing():
    theta_KxN = jnp.eye(2, 4)
    gradient = infinite.FunctionalGradient(jnp.zeros((2, 3)), jnp.arange(2), jnp.eye(2), theta_KxN)
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
        updates, _ = solver.update(gradient, solver.init(c_NxE), c_NxE)
        assert (infinite.apply_updates(c_NxE, updates) == c_NxE).all()


REFUSED = [
    *("adagrad", "adam", "adamw", "clip", "lion", "nadam", "rmsprop"),
    *("scale_by_adam", "scale_by_rms", "scale_by_rss", "scale_by_sign", "sign_sgd"),
]


@pytest.mark.parametrize("name", REFUSED)
def test_rules_that_leave_the_span_are_refused_with_the_reason(name):
    with pytest.raises(ValueError, match=f"^{name} has no kernel form: .*; use "):
        getattr(infinite, name)(1e-3)


@pytest.mark.parametrize(
    "make",
    [infinite.adam_star, infinite.rmsprop_star, infinite.nadam_star, infinite.adagrad_star],
)
@pytest.mark.parametrize("second_moment", ["factored", "elementwise"])
def test_second_moments_of_single_units_are_refused(make, second_moment):
    with pytest.raises(ValueError, match=f"'{second_moment}' has no kernel form: it differs"):
        make(0.1, second_moment=second_moment)


def test_an_unknown_second_moment_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match="one of per_output, global, error, not 'x'"):
        infinite.adam_star(0.1, second_moment="x")


@pytest.mark.parametrize("stranger", [optax.adam(0.1), optax.clip(1.0), optim.adam_star(0.1)])
def test_transformations_of_arrays_are_refused_in_a_chain(stranger):
    with pytest.raises(ValueError, match=r"argument 1 .* acts on the entries of an array"):
        infinite.chain(infinite.clip_by_functional_norm(1.0), stranger)


@pytest.mark.parametrize(
    "late",
    [
        lambda: infinite.clip_by_functional_norm(1.0),
        infinite.scale_by_adam_star,
        infinite.scale_by_rms_star,
        partial(infinite.scale_by_adam_star, nesterov=True),
        infinite.scale_by_adagrad_star,
        infinite.scale_by_muon_star,
        lambda: infinite.scale_by_eigenpro(examples()),
    ],
)
def test_what_needs_the_batch_is_refused_after_momentum(late):
    with jax.enable_x64(True):
        solver = infinite.chain(infinite.trace(0.9), late())
    c_NxE = jnp.zeros((4, 3))
    gradient = infinite.FunctionalGradient(jnp.ones((2, 3)), jnp.arange(2), jnp.eye(2))
    with pytest.raises(ValueError, match="needs the gradient of the batch; put it before"):
        solver.update(gradient, solver.init(c_NxE), c_NxE)


def test_muon_without_the_kernel_of_the_data_set_is_refused():
    solver = infinite.muon_star(0.1)
    gradient = infinite.FunctionalGradient(jnp.ones((2, 3)), jnp.arange(2), jnp.eye(2))
    with pytest.raises(ValueError, match="give FunctionalGradient its theta_KxN"):
        solver.update(gradient, solver.init(jnp.zeros((4, 3))))


def test_muon_needs_no_kernel_matrix_of_the_data_set():
    solver = infinite.muon_star(0.1, 0.8, 1e-3)
    with jax.enable_x64(True):
        found = [
            infinite.Readout(empirical, X_PxD[:EXAMPLES], OUTPUTS, gram_limit=limit).train(
                solver, half_square, TARGET_NxE, BATCH_SxK
            )[0]
            for limit in (0, 10**6)
        ]
    g_NxH = g(X_PxD[:EXAMPLES])
    for _, ((mu_NxE, gram_ExE), _) in found:
        m_HxE = g_NxH.T @ np.asarray(mu_NxE)
        np.testing.assert_allclose(gram_ExE, m_HxE.T @ m_HxE / WIDTH, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(found[0][0], found[1][0], **ROUNDING)


def test_decay_without_coefficients_is_refused():
    solver = infinite.sgd(0.1, weight_decay=0.1)
    gradient = infinite.FunctionalGradient(jnp.ones((2, 3)), jnp.arange(2), jnp.eye(2))
    with pytest.raises(ValueError, match="needs the coefficients"):
        solver.update(gradient, solver.init(jnp.zeros((4, 3))))


@pytest.mark.parametrize("name", ["gradient", "preconditioned", "readout", "ridge", "star_rules"])
def test_examples_run(name):
    module = importlib.import_module(f"infwidth.infinite.{name}")
    failed, attempted = doctest.testmod(module)
    assert attempted > 0
    assert failed == 0
