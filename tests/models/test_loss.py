# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np

from infwidth.models.loss import cross_entropy


def test_equals_a_float64_computation_where_exp_would_overflow():
    logits_VxN = 200 * jax.random.normal(jax.random.key(0), (7, 11))
    targets_N = jnp.arange(11) % 7
    exact = np.asarray(logits_VxN, np.float64)
    expected = np.logaddexp.reduce(exact, axis=0) - exact[np.asarray(targets_N), np.arange(11)]
    # float32 keeps 24 bits of logits up to some 600: an error of 4e-5.
    np.testing.assert_allclose(cross_entropy(logits_VxN, targets_N), expected, atol=1e-4)
