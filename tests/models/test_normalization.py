# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from infwidth.models.normalization import feature_scale, relu_second_moment


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
