# SPDX-License-Identifier: Apache-2.0
"""The recursion of one vector a batch: against a plain oracle that keeps every momentum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infwidth.infinite.stream import advance

ROOM, N, E, B1, B2, EPS = 40, 5, 3, 0.9, 0.98, 1e-3


def _coefficients_with_momentum(rule, delta_SxExN, square_SxE, rate_S, decay_S, b1=B1):
    """c of every input after all steps, by docs/theory.md, equation (9), in float64."""
    c_SxExN, a_SxExN = np.zeros_like(delta_SxExN), np.zeros_like(delta_SxExN)
    v_E = np.zeros(E)
    for s, (rate, decay) in enumerate(zip(rate_S, decay_S, strict=True)):
        if rule == "sgd":
            move_SxExN = np.zeros_like(delta_SxExN)
            move_SxExN[s] = delta_SxExN[s]
        else:
            a_SxExN = b1 * a_SxExN
            a_SxExN[s] = (1 - b1) * delta_SxExN[s]
            v_E = B2 * v_E + (1 - B2) * square_SxE[s]
            root_E = np.sqrt(v_E / (1 - B2 ** (s + 1))) + EPS
            move_SxExN = a_SxExN / (1 - b1 ** (s + 1)) / root_E[None, :, None]
        c_SxExN = decay * c_SxExN - rate * move_SxExN
    return c_SxExN


def _stream(rule, square_SxE, rate_S, decay_S, dtype, b1=B1):
    @jax.jit
    def step(carry, given):
        q_SxE, v_E = carry
        count, square_E, rate, decay = given
        moved = advance(rule, q_SxE, v_E, square_E, count, rate, b1=b1, b2=B2, eps=EPS, decay=decay)
        return moved, None

    steps = len(rate_S)
    start = jnp.zeros((ROOM, E), dtype), jnp.zeros(E, dtype)
    given = (jnp.arange(steps), *(jnp.asarray(x, dtype) for x in (square_SxE, rate_S, decay_S)))
    (q_SxE, _), _ = jax.lax.scan(step, start, given)
    return np.asarray(q_SxE)


@pytest.mark.parametrize("decayed", [False, True])
@pytest.mark.parametrize("rule", ["sgd", "adam_star"])
def test_coefficients_are_those_of_a_momentum_for_every_input(rule, decayed):
    random = np.random.default_rng(0)
    steps = 37
    delta_SxExN = random.normal(size=(steps, E, N))
    square_SxE = random.uniform(0.1, 2, (steps, E))
    rate_S, decay_S = random.uniform(0, 1, steps), 1 - 0.1 * random.uniform(0, decayed, steps)
    expected_SxExN = _coefficients_with_momentum(rule, delta_SxExN, square_SxE, rate_S, decay_S)
    with jax.enable_x64(True):
        q_SxE = _stream(rule, square_SxE, rate_S, decay_S, np.float64)
    c_SxExN = -delta_SxExN * q_SxE[:steps, :, None]
    np.testing.assert_allclose(c_SxExN, expected_SxExN, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(q_SxE[steps:], 0)


@pytest.mark.parametrize("b1", [B1, 0.0])
def test_float32_loses_nothing_over_many_steps_with_momentum_and_without(b1):
    random = np.random.default_rng(1)
    square_SxE, rate_S = random.uniform(0.1, 2, (ROOM, E)), random.uniform(0, 1, ROOM)
    one_S = np.ones(ROOM)
    expected = _coefficients_with_momentum(
        "adam_star", -np.ones((ROOM, E, 1)), square_SxE, rate_S, one_S, b1
    )
    q_SxE = _stream("adam_star", square_SxE, rate_S, one_S, np.float32, b1)
    # β2 = 0.98 leaves 1 − β2^t in float32 with 3e-6 of itself at t = 1.
    np.testing.assert_allclose(q_SxE, expected[..., 0], rtol=1e-5)


def test_old_batches_stop_moving():
    zero = jnp.zeros(E)
    q_SxE = jnp.zeros((400, E))
    moved = advance(
        "adam_star", q_SxE, zero + 1, zero + 1, jnp.asarray(399), jnp.float32(1),
        b1=B1, b2=B2, eps=EPS,
    )[0]  # fmt: skip
    assert bool((moved[:230] < 2.0**-24 * moved.max()).all())
    assert bool((moved[-100:] > 0).all())


def test_a_rule_that_leaves_the_kernels_span_is_refused():
    zero = jnp.zeros(E)
    with pytest.raises(ValueError, match=r"rule must be one of .*: adam"):
        advance(
            "adam", jnp.zeros((2, E)), zero, zero, jnp.asarray(0), jnp.float32(1),
            b1=B1, b2=B2, eps=EPS,
        )  # fmt: skip
