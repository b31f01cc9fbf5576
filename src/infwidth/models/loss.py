# SPDX-License-Identifier: Apache-2.0
"""Cross-entropy of next-token prediction, also over a vocabulary whose logits never exist at once.

In blocks of tokens the gradients are made with each block's logits, in the forward pass, so that
nothing is computed twice: what is kept for the backward pass is a gradient of each parameter and of
each input.

Shapes: N tokens, n blocks of K tokens, D residual stream, V vocabulary.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp


def cross_entropy(logits_VxN: jax.Array, targets_N: jax.Array) -> jax.Array:
    """losses_N, nats: −log softmax(logits)[target] of each column."""
    chosen_1xN = jnp.take_along_axis(logits_VxN, targets_N[None, :], axis=0)
    return jax.nn.logsumexp(logits_VxN, axis=0) - chosen_1xN[0]


Head = Callable[[Any, jax.Array], jax.Array]
"""From parameters and x_DxK to logits_VxK, each column by itself; closes over no arrays."""

LOGITS_ON_CPU = 2**24
LOGITS_ELSEWHERE = 2**27
"""Logits that may exist at a time, unless it is set: 64 and 512 MiB, in float32."""


def block_size(setting: int | None, tokens: int, vocabulary_size: int) -> int | None:
    """K, the tokens of a block; None where one holds all.

    The setting is the most that a block may have; None leaves it to the number of logits.
    """
    logits = LOGITS_ON_CPU if jax.default_backend() == "cpu" else LOGITS_ELSEWHERE
    most = max(1, logits // vocabulary_size) if setting is None else setting
    return None if tokens <= most else math.ceil(tokens / math.ceil(tokens / most))


def blocked_losses(
    head: Head, block: int, parameters: Any, x_DxN: jax.Array, targets_N: jax.Array
) -> jax.Array:
    """losses_N of the tokens, from the head's inputs; not to be differentiated."""
    x_nxDxK, targets_nxK = _cut(x_DxN, block), _cut(targets_N[None, :], block)[:, 0]
    losses_nxK = jax.lax.map(
        lambda columns: cross_entropy(head(parameters, columns[0]), columns[1]),
        (x_nxDxK, targets_nxK),
    )
    return _joined(losses_nxK[:, None], targets_N.size)[0]


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def blocked_mean_loss(
    head: Head, block: int, parameters: Any, x_DxN: jax.Array, targets_N: jax.Array
) -> jax.Array:
    """The mean of `blocked_losses`, with its gradient by parameters and inputs.

    Gradients of parameters are summed over the blocks in their own type.
    """
    return jnp.mean(blocked_losses(head, block, parameters, x_DxN, targets_N))


def _forward(
    head: Head, block: int, parameters: Any, x_DxN: jax.Array, targets_N: jax.Array
) -> tuple[jax.Array, tuple]:
    N = targets_N.size
    counts_1xN = jnp.full((1, N), 1 / N, x_DxN.dtype)
    x_nxDxK = _cut(x_DxN, block)
    targets_nxK, weights_nxK = (_cut(row, block)[:, 0] for row in (targets_N[None, :], counts_1xN))

    def share(parameters: Any, x_DxK: jax.Array, targets_K: jax.Array, weights_K: jax.Array):
        return jnp.sum(cross_entropy(head(parameters, x_DxK), targets_K) * weights_K)

    def add(total: tuple, columns: tuple) -> tuple[tuple, jax.Array]:
        loss, (gradient, dx_DxK) = jax.value_and_grad(share, argnums=(0, 1))(parameters, *columns)
        return jax.tree.map(jnp.add, total, (loss, gradient)), dx_DxK

    zeros = jnp.zeros((), x_DxN.dtype), jax.tree.map(jnp.zeros_like, parameters)
    (loss, gradient), dx_nxDxK = jax.lax.scan(add, zeros, (x_nxDxK, targets_nxK, weights_nxK))
    return loss, (gradient, _joined(dx_nxDxK, N))


def _backward(head: Head, block: int, residuals: tuple, g: jax.Array) -> tuple:
    del head, block
    return *jax.tree.map(lambda x: g * x, residuals), None


blocked_mean_loss.defvjp(_forward, _backward)


def _cut(x_RxN: jax.Array, block: int) -> jax.Array:
    """Blocks x_nxRxK, one after the other; zeros fill the last."""
    R, N = x_RxN.shape
    n = math.ceil(N / block)
    x_RxnK = jnp.pad(x_RxN, ((0, 0), (0, n * block - N)))
    return jnp.moveaxis(x_RxnK.reshape(R, n, block), 1, 0)


def _joined(x_nxRxK: jax.Array, N: int) -> jax.Array:
    """The inverse of `_cut`."""
    n, R, block = x_nxRxK.shape
    return jnp.moveaxis(x_nxRxK, 0, 1).reshape(R, n * block)[:, :N]
