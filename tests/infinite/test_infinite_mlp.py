# SPDX-License-Identifier: Apache-2.0
"""The layer: it computes what very wide finite layers tend to, from inputs and errors alone."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infwidth.config.errors import UserError
from infwidth.config.settings import ModelSettings
from infwidth.infinite import room
from infwidth.infinite.mlp import InfiniteMLP, infinite_mlp_maker, squared_gradient
from infwidth.kernels import relu_kernel
from infwidth.models.features import draw_features
from infwidth.models.transformer import Transformer, random_streams
from infwidth.models.variables import split

D, N, BIAS = 4, 9, 1.0


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
    first = room.steps_with_room(0, tokens)
    assert first >= 1
    for steps in (1, first, first + 1, 3 * first, 1000):
        wide = room.steps_with_room(steps, tokens)
        assert wide >= steps
        assert wide == first or wide < 2 * steps
        assert np.log2(wide / first).is_integer()


def test_bytes_are_those_of_the_buffers():
    mlp = InfiniteMLP(D, 300)
    _, groups = split(mlp)
    arrays = [x for x in jax.tree.leaves((groups.features, groups.readout)) if x.ndim]
    steps = mlp.q_SxE[...].shape[0]
    assert room.support_bytes(steps, 300, D, layers=2) == 2 * sum(x.nbytes for x in arrays)


def test_a_support_that_would_outgrow_memory_is_refused_with_the_estimate(monkeypatch):
    monkeypatch.setattr(room, "device_memory", lambda: 10**9)
    room.require_memory(steps=500, tokens=1024, d_model=64, layers=2)
    # 5,000 steps need room for 8,192 of 1,024 tokens: 8.66 GB, and half as much while doubling.
    with pytest.raises(UserError, match=r"5,120,000 inputs in each of 2 layers.* 13 GB .* are 1: "):
        room.require_memory(steps=5000, tokens=1024, d_model=64, layers=2)


def test_a_containers_limit_counts(monkeypatch):
    whole = room.device_memory()
    files = {
        "/sys/fs/cgroup/memory.max": "max\n",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": "123456789\n",
    }
    monkeypatch.setattr(Path, "read_text", lambda path: files[str(path)])
    assert room.device_memory() == min(123456789, whole)
