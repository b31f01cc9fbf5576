# SPDX-License-Identifier: Apache-2.0
"""ADAM* on normalized features is ADAM* on their own kernel.

Shapes: N examples of dimension D, H features, E outputs, S steps, K examples a batch.
"""

import math
from functools import partial

import jax.numpy as jnp
import numpy as np
from flax import nnx

from infwidth import infinite
from infwidth.kernels import normalized_relu_kernel, relu_kernel
from infwidth.models.features import FeatureMLP
from tests.infinite import parameter_space
from tests.infinite.parameter_space import Rule

D, WIDTH, STEPS = 3, 30_000, 30
BIAS = math.sqrt(D) / 2
RNG = np.random.default_rng(0)
X_NxD = RNG.normal(size=(12, D)).astype(np.float32)
TARGET_NxE = np.sin(2 * X_NxD[:, :2])
BATCH_SxK = RNG.integers(12, size=(STEPS, 6))


def half_square(f_KxE, target_KxE):
    return jnp.sum(jnp.square(f_KxE - target_KxE)) / (2 * f_KxE.shape[0])


def outputs(kernel):
    readout = infinite.Readout(partial(kernel, bias=BIAS), X_NxD, 2)
    solver = infinite.adam_star(0.1, 0.8, 0.95)
    state, _ = readout.train(solver, half_square, TARGET_NxE, BATCH_SxK)
    return np.asarray(readout(state.coefficients_NxE))


def test_a_wide_layer_of_normalized_features_comes_close_to_their_kernel_and_to_no_other():
    layer = FeatureMLP(D, WIDTH, normalized=True, rngs=nnx.Rngs(features=0, readout=0))
    omega_Hxd = np.asarray(layer.omega_Hxd[...], np.float64)
    x_Nxd = np.pad(X_NxD, ((0, 0), (0, 1)), constant_values=BIAS)
    g_NxH = np.maximum(x_Nxd @ omega_Hxd.T / math.sqrt(D + 1), 0)
    rule = Rule("per_output", b1=0.8, b2=0.95)
    f_SxNxE, _ = parameter_space.train(rule, np.ones(STEPS), g_NxH, TARGET_NxE, BATCH_SxK, g_NxH)

    def distance(kernel):
        return np.sqrt(np.square(outputs(kernel) - f_SxNxE[-1]).mean())

    size = np.sqrt(np.square(f_SxNxE[-1]).mean())
    # 1/√30,000 is 0.006; without the normalization it is another function.
    assert distance(normalized_relu_kernel) < 0.015 * size
    assert distance(relu_kernel) > 0.045 * size
