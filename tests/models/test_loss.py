# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infwidth.models.loss import (
    LOGITS_ON_CPU,
    block_size,
    blocked_losses,
    blocked_mean_loss,
    cross_entropy,
)

V, D, N = 40, 6, 22
KEYS = jax.random.split(jax.random.key(0), 3)
EMBEDDING_VxD = jax.random.normal(KEYS[0], (V, D))
X_DxN = jax.random.normal(KEYS[1], (D, N))
TARGETS_N = jax.random.randint(KEYS[2], (N,), 0, V)


def _plain(embedding_VxD, x_DxN):
    return cross_entropy(jnp.dot(embedding_VxD, x_DxN), TARGETS_N)


@pytest.mark.parametrize("block", [5, 11])
def test_values_and_gradients_are_the_plain_ones(block):
    def blocked(embedding_VxD, x_DxN):
        return 3 * blocked_mean_loss(jnp.dot, block, embedding_VxD, x_DxN, TARGETS_N)

    losses_N = blocked_losses(jnp.dot, block, EMBEDDING_VxD, X_DxN, TARGETS_N)
    np.testing.assert_allclose(losses_N, _plain(EMBEDDING_VxD, X_DxN), rtol=1e-6)
    value, gradients = jax.value_and_grad(blocked, (0, 1))(EMBEDDING_VxD, X_DxN)
    expected, references = jax.value_and_grad(lambda *a: 3 * jnp.mean(_plain(*a)), (0, 1))(
        EMBEDDING_VxD, X_DxN
    )
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(blocked(EMBEDDING_VxD, X_DxN), expected, rtol=1e-6)
    for ours, reference in zip(gradients, references, strict=True):
        np.testing.assert_allclose(ours, reference, rtol=1e-5, atol=1e-7)


def test_all_logits_at_once_never_exist():
    V, D, N, block = 4096, 8, 1024, 64
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((V, D), (D, N))]
    targets_N = jnp.zeros(N, jnp.int32)

    def temporary(loss):
        compiled = jax.jit(jax.grad(loss, (0, 1))).lower(*shapes).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    logits = 4 * V * N
    assert temporary(lambda e, x: jnp.mean(cross_entropy(jnp.dot(e, x), targets_N))) > logits
    blocked = temporary(lambda e, x: blocked_mean_loss(jnp.dot, block, e, x, targets_N))
    # A few blocks of logits, and the gradients.
    assert blocked < logits / 4


def test_a_block_has_all_tokens_unless_their_logits_are_many():
    assert block_size(None, 512, 512) is None
    assert block_size(None, 2 * LOGITS_ON_CPU // 512, 512) == LOGITS_ON_CPU // 512
    assert block_size(100, 512, 32_128) == 86
    assert block_size(512, 512, 10**9) is None
    assert block_size(None, 4, 10**9) == 1


def test_cross_entropy_equals_a_float64_computation_where_exp_would_overflow():
    logits_VxN = 200 * jax.random.normal(jax.random.key(0), (7, 11))
    targets_N = jnp.arange(11) % 7
    exact = np.asarray(logits_VxN, np.float64)
    expected = np.logaddexp.reduce(exact, axis=0) - exact[np.asarray(targets_N), np.arange(11)]
    # float32 keeps 24 bits of logits up to some 600: an error of 4e-5.
    np.testing.assert_allclose(cross_entropy(logits_VxN, targets_N), expected, atol=1e-4)
