# SPDX-License-Identifier: Apache-2.0
import math
from functools import partial

import jax
import numpy as np
import pytest
from flax import nnx
from scipy.integrate import quad
from scipy.stats import norm

from infwidth.config.settings import ModelSettings
from infwidth.models.architectures import layer_maker
from infwidth.models.features import (
    BIAS_SHIFT,
    FeatureMLP,
    draw_features,
    feature_scale,
    mlp_maker,
    relu_second_moment,
)

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


@pytest.mark.parametrize("r", [-37.0, -25.0, -19.9, -8.0, -3.0, -1.0, -0.999, 0.0, 0.5, 4.0, 30.0])
def test_moment_equals_numerical_integration(r):
    # z = -r + t: the factor exp(-r²/2) is taken out, so that the tail is integrated to 1e-10, too.
    if r < 0:
        integral = quad(lambda t: t**2 * math.exp(r * t - t**2 / 2), 0, np.inf, epsabs=0)[0]
        expected = integral * math.exp(-(r**2) / 2) / math.sqrt(2 * math.pi)
    else:
        expected = quad(lambda z: (r + z) ** 2 * norm.pdf(z), -r, np.inf)[0]
    assert relu_second_moment(r) == pytest.approx(expected, rel=1e-8, abs=0)


@pytest.mark.parametrize("bias", [0.0, 4.0, 40.0])
def test_fourth_power_of_the_scale_has_mean_one(bias):
    mean = quad(
        lambda w: feature_scale(w, 64, bias) ** 4 * norm.pdf(w), -10, 10, points=[0.0], epsabs=1e-7
    )[0]
    assert mean == pytest.approx(1, rel=1e-6)


def test_scale_is_the_root_of_the_features_size():
    # E_x[g²] by Monte Carlo, |ω_x|² = D: 4e5 draws give it to some 0.5%, its fourth root to 0.13%.
    rng = np.random.default_rng(0)
    D, bias, omega_b = 16, 2.0, np.array([-1.0, 0.0, 1.5])
    omega_x = rng.normal(size=D)
    omega_x *= math.sqrt(D) / np.linalg.norm(omega_x)
    z = rng.normal(size=(400_000, D)) @ omega_x
    sizes = [np.mean(np.maximum(z + w * bias, 0) ** 2) / (D + 1) for w in omega_b]
    scale = feature_scale(omega_b, D, bias)
    np.testing.assert_allclose((scale / scale[1]) ** 4, sizes / sizes[1], rtol=0.03)
