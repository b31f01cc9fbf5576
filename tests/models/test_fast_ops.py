# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from infwidth.models.fast_ops import look_up, product

KEYS = jax.random.split(jax.random.key(0), 3)
W, X, G = map(jax.random.normal, KEYS, ((5, 64), (64, 7), (5, 7)))


def test_look_up_and_its_gradient_equal_a_product_with_one_hot_rows():
    embedding_VxD, g_DxN = map(jax.random.normal, KEYS, ((5, 3), (3, 8)))
    tokens_BxT = jnp.array([[0, 4, 4, 1], [1, 1, 0, 4]])
    one_hot_NxV = jax.nn.one_hot(tokens_BxT.reshape(-1), 5)
    fast, fast_gradient = jax.vjp(lambda e: look_up(e, tokens_BxT), embedding_VxD)
    slow, slow_gradient = jax.vjp(lambda e: (one_hot_NxV @ e).T, embedding_VxD)
    np.testing.assert_array_equal(fast, slow)
    np.testing.assert_allclose(fast_gradient(g_DxN)[0], slow_gradient(g_DxN)[0], 1e-5, 1e-5)


def _rounded(x):
    return np.asarray(x).astype(ml_dtypes.bfloat16).astype(np.float64)


def test_factors_are_rounded_to_bfloat16_and_sums_and_gradients_are_float32():
    y, gradients = jax.vjp(lambda w, x: product(w, x, "bfloat16"), W, X)
    dw, dx = gradients(G)
    expected = (
        (y, _rounded(W) @ _rounded(X)),
        (dw, _rounded(G) @ _rounded(X).T),
        (dx, _rounded(W).T @ _rounded(G)),
    )
    for ours, reference in expected:
        assert ours.dtype == jnp.float32
        # Products of bfloat16 numbers are exact in float32; bfloat16 sums would be off by 1e-2.
        np.testing.assert_allclose(ours, reference, rtol=1e-5, atol=1e-5)


def test_float32_is_the_plain_product():
    np.testing.assert_array_equal(product(W, X, "float32"), jnp.dot(W, X))
