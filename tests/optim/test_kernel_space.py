# SPDX-License-Identifier: Apache-2.0
"""Training M with finitely many features is training coefficients of the empirical kernel.

Shapes: N inputs trained on, P inputs looked at (the first N are those), H features, E outputs.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from infwidth.optim import (
    adam_star,
    clip_by_functional_norm,
    scale_by_adagrad_star,
    scale_by_adam_star,
    scale_by_muon_star,
    scale_by_rms_star,
    scale_by_width,
)
from tests.optim.oracle import (
    Optimizer,
    Problem,
    train_coefficients,
    train_star_coefficients,
    train_stream,
)

WIDTH, OUTPUTS, STEPS = 9, 3, 60
# 60 steps of float64, a few hundred operations each; what differs is the order of the sums.
ROUNDING = {"rtol": 1e-10, "atol": 1e-11}


def regression(inputs, batch_SxK):
    """ReLU features with an appended bias coordinate, random targets, a random M at the start."""
    rng = np.random.default_rng(0)
    x_PxD = rng.normal(size=(inputs + 5, 4))
    bias_Px1 = np.full((inputs + 5, 1), 1.0)
    omega_HxD1 = rng.normal(size=(WIDTH, 5))
    g_PxH = np.maximum(np.concatenate([x_PxD, bias_Px1], axis=1) @ omega_HxD1.T / np.sqrt(5), 0)
    m_HxE = rng.normal(size=(WIDTH, OUTPUTS))
    # Outputs of different sizes, so that one v for all of them is another rule than one for each.
    target_NxE = rng.normal(size=(inputs, OUTPUTS)) * np.array([1.0, 3.0, 0.1])
    problem = Problem(g_PxH @ g_PxH.T / WIDTH, g_PxH @ m_HxE / WIDTH, target_NxE, batch_SxK)
    return problem, g_PxH, m_HxE


def in_parameter_space(problem, g_PxH, m_HxE, optimizer):
    """The values of f after every step, by optax on M."""

    def rate(count):
        return jnp.asarray(optimizer.rate_S)[count]

    if optimizer.second_moment is None:
        rule = optax.chain(
            optax.add_decayed_weights(optimizer.weight_decay), optax.scale_by_learning_rate(rate)
        )
    else:
        rule = adam_star(
            rate,
            optimizer.b1,
            optimizer.b2,
            optimizer.eps,
            second_moment=optimizer.second_moment,
            weight_decay=optimizer.weight_decay,
        )
    clip = optax.identity()
    if optimizer.clip_norm is not None:
        clip = clip_by_functional_norm(optimizer.clip_norm)
    return values_after_steps(problem, g_PxH, m_HxE, optax.chain(scale_by_width(), clip, rule))


def values_after_steps(problem, g_PxH, m_HxE, solver):
    def loss(m_HxE, batch_K):
        f_KxE = jnp.asarray(g_PxH)[batch_K] @ m_HxE / WIDTH
        error_KxE = f_KxE - jnp.asarray(problem.target_NxE)[batch_K]
        return jnp.sum(jnp.square(error_KxE)) / (2 * len(batch_K))

    def step(carry, batch_K):
        m_HxE, state = carry
        updates, state = solver.update(jax.grad(loss)(m_HxE, batch_K), state, m_HxE)
        m_HxE = optax.apply_updates(m_HxE, updates)
        return (m_HxE, state), jnp.asarray(g_PxH) @ m_HxE / WIDTH

    start = jnp.asarray(m_HxE)
    _, f_SxPxE = jax.lax.scan(step, (start, solver.init(start)), jnp.asarray(problem.batch_SxK))
    return np.asarray(f_SxPxE)


def falling_rates(size):
    return size * np.linspace(1.0, 0.2, STEPS)


@pytest.mark.parametrize("second_moment", [None, "per_output", "global"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("clip_norm", [None, 0.3])
def test_parameter_space_is_kernel_space(second_moment, weight_decay, clip_norm):
    # 8 of 10 inputs a batch, drawn with replacement: some stand in one batch twice.
    batch_SxK = np.random.default_rng(1).integers(10, size=(STEPS, 8))
    assert any(len(set(batch_K)) < 8 for batch_K in batch_SxK)
    problem, g_PxH, m_HxE = regression(10, batch_SxK)
    rate_S = falling_rates(1.0 if second_moment is None else 0.1)
    optimizer = Optimizer(second_moment, rate_S, weight_decay, clip_norm)
    moments = list(train_coefficients(problem, optimizer))
    if clip_norm is not None:
        assert 0 < sum(moment.clipped for moment in moments) < STEPS
    with jax.enable_x64(True):
        found_SxPxE = in_parameter_space(problem, g_PxH, m_HxE, optimizer)
    np.testing.assert_allclose(found_SxPxE, [moment.f_PxE for moment in moments], **ROUNDING)


@pytest.mark.parametrize("second_moment", ["per_output", "global"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_on_a_stream_one_vector_a_batch_replaces_the_momentum(second_moment, weight_decay):
    problem, g_PxH, m_HxE = regression(STEPS * 4, np.arange(STEPS * 4).reshape(STEPS, 4))
    optimizer = Optimizer(second_moment, falling_rates(0.1), weight_decay, clip_norm=0.3)
    streamed = [moment.f_PxE for moment in train_stream(problem, optimizer)]
    buffered = [moment.f_PxE for moment in train_coefficients(problem, optimizer)]
    with jax.enable_x64(True):
        found_SxPxE = in_parameter_space(problem, g_PxH, m_HxE, optimizer)
    np.testing.assert_allclose(streamed, buffered, **ROUNDING)
    np.testing.assert_allclose(found_SxPxE, streamed, **ROUNDING)


STAR_RULES = {
    "rms_star": lambda b1, b2, eps: scale_by_rms_star(b2, eps, bias_correction=True),
    "adagrad_star": lambda b1, b2, eps: scale_by_adagrad_star(eps=eps),
    "nadam_star": partial(scale_by_adam_star, nesterov=True),
    "uncorrected": partial(scale_by_adam_star, bias_correction=False),
    "muon_star": lambda b1, b2, eps: scale_by_muon_star(b1, eps),
}


@pytest.mark.parametrize("name", STAR_RULES)
def test_the_other_rules_in_parameter_space_are_theirs_in_kernel_space(name):
    batch_SxK = np.random.default_rng(1).integers(10, size=(STEPS, 8))
    problem, g_PxH, m_HxE = regression(10, batch_SxK)
    rate_S, moments = falling_rates(0.1), (0.8, 0.95, 1e-3)
    with jax.enable_x64(True):
        rate = optax.scale_by_learning_rate(lambda count: jnp.asarray(rate_S)[count])
        solver = optax.chain(scale_by_width(), STAR_RULES[name](*moments), rate)
        found_SxPxE = values_after_steps(problem, g_PxH, m_HxE, solver)
    expected = list(train_star_coefficients(problem, name, rate_S, *moments))
    np.testing.assert_allclose(found_SxPxE, expected, **ROUNDING)


def test_elementwise_adam_is_no_step_in_the_kernel():
    """The counterexample of docs/theory.md, section 5, at a width of 20,000."""
    rng = np.random.default_rng(0)
    omega_HxD1 = rng.normal(size=(20_000, 2))
    angles = np.array([0.0, np.pi / 3])
    x_2xD1 = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    g_2xH = np.maximum(x_2xD1 @ omega_HxD1.T / np.sqrt(2), 0)
    theta_2 = g_2xH @ g_2xH[0] / 20_000
    step_2 = g_2xH @ np.sign(g_2xH[0]) / 20_000
    cosine, sine = np.cos(angles), np.sin(angles)
    exact_theta_2 = (sine + (np.pi - angles) * cosine) / (4 * np.pi)
    exact_step_2 = (1 + cosine) / (4 * np.sqrt(np.pi))
    # Monte Carlo over 20,000 features: standard errors of 0.003 at most, three of them allowed.
    np.testing.assert_allclose(theta_2, exact_theta_2, atol=0.01)
    np.testing.assert_allclose(step_2, exact_step_2, atol=0.01)
    ratio_2 = exact_step_2 / exact_theta_2
    assert abs(ratio_2[1] / ratio_2[0] - 1) > 0.2
