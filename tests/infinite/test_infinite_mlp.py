# SPDX-License-Identifier: Apache-2.0
"""The layer: it computes what very wide finite layers tend to, from inputs and errors alone.

Its training, one vector a batch, is held against a plain oracle that keeps every momentum.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infwidth.config.errors import UserError
from infwidth.config.settings import ModelSettings
from infwidth.infinite import support
from infwidth.infinite.mlp import InfiniteMLP, advance, infinite_mlp_maker, squared_gradient
from infwidth.kernels import relu_kernel
from infwidth.models.features import draw_features
from infwidth.models.transformer import Transformer, random_streams
from infwidth.models.variables import split

D, N, BIAS = 4, 9, 1.0
ROOM, E, B1, B2, EPS = 40, 3, 0.9, 0.98, 1e-3


def _batch(seed):
    random = np.random.default_rng(seed)
    return (jnp.asarray(random.normal(size=(D, N)), jnp.float32) for _ in range(2))


def test_it_is_zero_before_it_has_seen_anything():
    x_DxN, _ = _batch(0)
    np.testing.assert_array_equal(InfiniteMLP(D, N)(x_DxN), 0)


def test_it_sums_the_kernel_over_all_it_has_seen():
    mlp = InfiniteMLP(D, N, bias=BIAS)
    x_DxN, _ = _batch(9)
    expected_ExN = jnp.zeros((D, N))
    for step in range(3):
        seen_DxN, delta_ExN = _batch(step)
        mlp.see(seen_DxN, delta_ExN)
        mlp.q_SxE.set_value(mlp.q_SxE[...].at[step].set(0.5 + step))
        theta_NxN = relu_kernel(seen_DxN.T, x_DxN.T, bias=BIAS)
        expected_ExN = expected_ExN - (0.5 + step) * (delta_ExN @ theta_NxN)
    np.testing.assert_allclose(mlp(x_DxN), expected_ExN, atol=1e-5)


def test_the_bias_is_a_finite_layers():
    assert InfiniteMLP(D, N).bias == D**0.5 / 2
    assert InfiniteMLP(D, N, bias=0.25).bias == 0.25


def test_the_squared_gradient_is_the_mean_over_features():
    x_DxN, delta_ExN = _batch(3)
    omega_Hxd = draw_features(jax.random.key(0), 200_000, D + 1)
    x_dxN = jnp.pad(x_DxN, ((0, 1), (0, 0)), constant_values=BIAS)
    G_HxE = jax.nn.relu(omega_Hxd @ x_dxN / (D + 1) ** 0.5) @ delta_ExN.T
    drawn_E = jnp.mean(jnp.square(G_HxE), axis=0)
    error_E = jnp.std(jnp.square(G_HxE), axis=0) / 200_000**0.5
    square_E = squared_gradient(x_DxN, delta_ExN, BIAS)
    assert bool((jnp.abs(square_E - drawn_E) < 4 * error_E).all())


def test_the_squared_gradient_is_never_negative():
    x_DxN = jnp.ones((D, N))
    opposite_ExN = jnp.ones((D, N)) * jnp.where(jnp.arange(N) % 2 == 0, 0.1, -0.125)[None, :]
    assert bool((squared_gradient(x_DxN, opposite_ExN, BIAS) >= 0).all())


def test_the_trunk_starts_at_the_numbers_of_a_finite_model():
    from infwidth.models.features import mlp_maker

    settings = ModelSettings(d_model=8, layers=2, heads=2, context=4)
    finite, infinite = (
        split(Transformer(settings, make_mlp, 16, rngs=nnx.Rngs(**random_streams(3))))[1].trunk
        for make_mlp in (mlp_maker(settings, "fixed", 5), infinite_mlp_maker(settings, 8))
    )
    assert finite.keys() == infinite.keys()
    jax.tree.map(np.testing.assert_array_equal, finite, infinite)


def test_a_readout_that_starts_elsewhere_than_at_zero_is_refused():
    settings = ModelSettings(d_model=8, heads=2, readout_init="normal")
    with pytest.raises(ValueError, match="readout_init to 'zeros'"):
        infinite_mlp_maker(settings, 8)


@pytest.mark.parametrize("tokens", [1, 100, 256, 300_000])
def test_room_doubles_and_holds_what_it_must(tokens):
    first = support.steps_with_room(0, tokens)
    assert first >= 1
    for steps in (1, first, first + 1, 3 * first, 1000):
        wide = support.steps_with_room(steps, tokens)
        assert wide >= steps
        assert wide == first or wide < 2 * steps
        assert np.log2(wide / first).is_integer()


def test_bytes_are_those_of_the_buffers():
    mlp = InfiniteMLP(D, 300)
    _, groups = split(mlp)
    arrays = [x for x in jax.tree.leaves((groups.features, groups.readout)) if x.ndim]
    steps = mlp.q_SxE[...].shape[0]
    assert support.support_bytes(steps, 300, D, layers=2) == 2 * sum(x.nbytes for x in arrays)


def test_a_support_that_would_outgrow_memory_is_refused_with_the_estimate(monkeypatch):
    monkeypatch.setattr(support, "device_memory", lambda: 10**9)
    support.require_memory(steps=500, tokens=1024, d_model=64, layers=2)
    # 5,000 steps need room for 8,192 of 1,024 tokens: 8.66 GB, and half as much while doubling.
    with pytest.raises(UserError, match=r"5,120,000 inputs in each of 2 layers.* 13 GB .* are 1: "):
        support.require_memory(steps=5000, tokens=1024, d_model=64, layers=2)


def test_a_containers_limit_counts(monkeypatch):
    whole = support.device_memory()
    files = {
        "/sys/fs/cgroup/memory.max": "max\n",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": "123456789\n",
    }
    monkeypatch.setattr(Path, "read_text", lambda path: files[str(path)])
    assert support.device_memory() == min(123456789, whole)


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


def _advanced(rule, steps):
    """q after the last of some steps, of which the others left it 0."""
    q_SxE, one_E, last = jnp.zeros((steps, E)), jnp.ones(E), jnp.asarray(steps - 1)
    return advance(rule, q_SxE, one_E, one_E, last, jnp.float32(1), b1=B1, b2=B2, eps=EPS)[0]


def test_old_batches_stop_moving():
    moved = _advanced("adam_star", 400)
    assert bool((moved[:230] < 2.0**-24 * moved.max()).all())
    assert bool((moved[-100:] > 0).all())


def test_a_rule_that_leaves_the_kernels_span_is_refused():
    with pytest.raises(ValueError, match=r"rule must be one of .*: adam"):
        _advanced("adam", 2)
