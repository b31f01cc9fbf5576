# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infwidth.models import fast_ops
from tests.models import plain

# float32 rounding of sums of at most 16 terms of size 1 to 10.
ROUNDING = {"rtol": 1e-5, "atol": 1e-5}


def _normal(*shapes):
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


@pytest.mark.parametrize(("heads", "T"), [(1, 8), (2, 4), (4, 1)])
def test_attention_and_its_gradients_equal_the_plain_form(heads, T):
    q, k, v, g = _normal(*[(8, 16)] * 4)
    fast, fast_gradients = jax.vjp(lambda *x: fast_ops.causal_attention(*x, heads, T), 3 * q, k, v)
    slow, slow_gradients = jax.vjp(lambda *x: plain.causal_attention(*x, heads, T), 3 * q, k, v)
    np.testing.assert_allclose(fast, slow, **ROUNDING)
    for ours, reference in zip(fast_gradients(g), slow_gradients(g), strict=True):
        np.testing.assert_allclose(ours, reference, **ROUNDING)


def test_attention_stands_scores_that_overflow_exp():
    q, k, v, g = _normal(*[(8, 16)] * 4)
    mixed, gradients = jax.vjp(lambda *x: fast_ops.causal_attention(*x, 2, 8), 1e3 * q, k, v)
    assert jnp.isfinite(mixed).all()
    assert all(jnp.isfinite(x).all() for x in gradients(g))


def test_look_up_and_its_gradient_equal_a_product_with_one_hot_rows():
    embedding_VxD, g = _normal((5, 3), (3, 8))
    tokens = jnp.array([[0, 4, 4, 1], [1, 1, 0, 4]])
    fast, fast_gradient = jax.vjp(lambda e: fast_ops.look_up(e, tokens), embedding_VxD)
    slow, slow_gradient = jax.vjp(lambda e: plain.look_up(e, tokens), embedding_VxD)
    np.testing.assert_array_equal(fast, slow)
    np.testing.assert_allclose(fast_gradient(g)[0], slow_gradient(g)[0], **ROUNDING)
