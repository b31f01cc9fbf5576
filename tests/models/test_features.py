# SPDX-License-Identifier: Apache-2.0
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from infwidth.models.features import FeatureMLP, draw_features

D = 8


def _mlp(width, seed=0, **settings):
    key = jax.random.key(seed)
    return FeatureMLP(D, width, rngs=nnx.Rngs(features=key, readout=key), **settings)


def _inputs(count=5):
    return jax.random.normal(jax.random.key(9), (D, count))


def test_rows_of_a_narrow_draw_begin_a_wide_one():
    key = jax.random.key(3)
    np.testing.assert_array_equal(draw_features(key, 7, 4), draw_features(key, 100, 4)[:7])


def test_features_are_standard_normal():
    omega = np.asarray(draw_features(jax.random.key(0), 4000, 9))
    # Four standard errors of the mean, the variance and the largest covariance of two rows.
    assert abs(omega.mean()) < 4 / math.sqrt(omega.size)
    assert abs(omega.var() - 1) < 4 * math.sqrt(2 / omega.size)
    assert abs((omega[1:] * omega[:-1]).mean()) < 4 / math.sqrt(omega.size)


def test_output_is_the_mean_over_features():
    mlp, x_DxN = _mlp(6, readout_init="normal", bias=0.7), _inputs()
    omega, m = np.asarray(mlp.omega_Hxd[...], np.float64), np.asarray(mlp.m_HxE[...], np.float64)
    expected = np.zeros((D, 5))
    for n, x in enumerate(np.asarray(x_DxN, np.float64).T):
        for omega_h, m_h in zip(omega, m, strict=True):
            expected[:, n] += m_h * max(omega_h @ np.append(x, 0.7) / math.sqrt(D + 1), 0) / 6
    np.testing.assert_allclose(mlp(x_DxN), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("width", [1, 300])
def test_output_is_zero_at_the_start(width):
    assert not _mlp(width)(_inputs()).any()


def test_size_with_normal_readout_falls_as_the_inverse_root_of_the_width():
    x_DxN = _inputs(200)

    def size(width):
        outputs = [_mlp(width, seed, readout_init="normal")(x_DxN) for seed in range(10)]
        return math.sqrt(np.mean(np.square(outputs)))

    # 10 draws of 8 outputs: each size is known to 1/√160, 8%, and a ratio to 11%.
    assert size(16) / size(256) == pytest.approx(4, rel=0.33)
    assert size(256) / size(4096) == pytest.approx(4, rel=0.33)


def test_first_gradient_of_the_readout_times_the_width_does_not_depend_on_the_width():
    x_DxN = _inputs(200)

    def size(width):
        structure, state = nnx.split(_mlp(width))
        gradient = jax.grad(lambda s: jnp.sum(nnx.merge(structure, s)(x_DxN)))(state)
        return float(width * jnp.sqrt(jnp.mean(jnp.square(gradient["m_HxE"][...]))))

    # The mean over 64 features' squares is known to about √(5/64) = 28%, its root to 14%.
    assert size(64) == pytest.approx(size(16384), rel=0.3)


def test_mean_over_draws_of_a_fixed_readout_function_does_not_depend_on_the_width():
    # M_ω = ω_1: E[M_ω g_ω(x)] has one value, which the mean over draws estimates at every width.
    x_DxN = _inputs(1)

    def draws(width, count):
        values = []
        for seed in range(count):
            mlp = _mlp(width, seed)
            mlp.m_HxE[...] = jnp.tile(mlp.omega_Hxd[:, :1], (1, D))
            values.append(float(mlp(x_DxN)[0, 0]))
        return np.array(values)

    narrow, wide = draws(4, 100), draws(64, 25)
    error = math.sqrt(narrow.var() / 100 + wide.var() / 25)
    assert abs(narrow.mean() - wide.mean()) < 4 * error
    assert error < 0.2 * abs(wide.mean())


def test_normalized_features_are_divided_by_their_scale():
    from infwidth.models.normalization import feature_scale

    plain, normalized = _mlp(50), _mlp(50, normalized=True)
    scale = feature_scale(plain.omega_Hxd[:, -1], D, math.sqrt(D) / 2)
    np.testing.assert_allclose(
        normalized.omega_Hxd[...] * scale[:, None], plain.omega_Hxd[...], rtol=1e-6
    )


def test_size_in_the_ntk_parametrization_does_not_depend_on_the_width():
    x_DxN = _inputs(200)

    def size(width):
        outputs = [_mlp(width, seed, readout_init="ntk")(x_DxN) for seed in range(10)]
        return math.sqrt(np.mean(np.square(outputs)))

    # As above: a ratio is known to 11%.
    assert size(16) / size(4096) == pytest.approx(1, rel=0.33)


def test_shifted_biases_are_plain_ones_moved():
    plain, shifted = _mlp(50), _mlp(50, bias_shift=-0.41)
    moved = np.asarray(shifted.omega_Hxd[...]) - np.asarray(plain.omega_Hxd[...])
    np.testing.assert_allclose(moved[:, -1], -0.41, atol=1e-6)
    assert not moved[:, :-1].any()


def test_a_readout_may_have_outputs_of_its_own():
    assert _mlp(6, outputs=3, readout_init="normal")(_inputs()).shape == (3, 5)
