# SPDX-License-Identifier: Apache-2.0
import math
from functools import partial

import jax
import numpy as np
import pytest
from flax import nnx

from infwidth.config.settings import ModelSettings
from infwidth.models.features import BIAS_SHIFT, FeatureMLP, draw_features, mlp_maker
from infwidth.models.normalization import feature_scale
from infwidth.models.wide_layer import layer_maker

D = 8


def _mlp(width, seed=0, **settings):
    key = jax.random.key(seed)
    return FeatureMLP(D, width, rngs=nnx.Rngs(features=key, readout=key), **settings)


def _inputs(count=5):
    return jax.random.normal(jax.random.key(9), (D, count))


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


@pytest.mark.parametrize(("init", "ratio"), [("normal", 4), ("ntk", 1)])
def test_size_falls_as_the_inverse_root_of_the_width_but_in_the_ntk_parametrization(init, ratio):
    x_DxN = _inputs(200)

    def size(width):
        outputs = [_mlp(width, seed, readout_init=init)(x_DxN) for seed in range(10)]
        return math.sqrt(np.mean(np.square(outputs)))

    # 10 draws of 8 outputs: each size is known to 1/√160, 8%, and a ratio to 11%.
    assert size(16) / size(256) == pytest.approx(ratio, rel=0.33)
    assert size(256) / size(4096) == pytest.approx(ratio, rel=0.33)


def test_a_readout_may_have_outputs_of_its_own():
    assert _mlp(6, outputs=3, readout_init="normal")(_inputs()).shape == (3, 5)


MAKERS = {
    "transformer": lambda treatment: mlp_maker(ModelSettings(d_model=D, heads=2), treatment, 50),
    "others": lambda treatment: partial(layer_maker(treatment, 50), D, D),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_treated_features_are_plain_ones_divided_by_their_scale_or_with_moved_biases(make):
    plain_Hxd, divided_Hxd, moved_Hxd = (
        np.asarray(make(treatment)(rngs=nnx.Rngs(features=0, readout=0)).omega_Hxd[...])
        for treatment in ("fixed", "normalized", "shifted")
    )
    scale_H = feature_scale(plain_Hxd[:, -1], D, math.sqrt(D) / 2)
    np.testing.assert_allclose(divided_Hxd * scale_H[:, None], plain_Hxd, rtol=1e-6)
    shift_d = np.append(np.zeros(D), BIAS_SHIFT)
    np.testing.assert_allclose(moved_Hxd, plain_Hxd + shift_d[None, :], atol=1e-6)
