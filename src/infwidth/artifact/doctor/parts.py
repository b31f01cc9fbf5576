# SPDX-License-Identifier: Apache-2.0
"""The parts that are chosen by device, attention and the loss in blocks, against plain forms."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from infwidth.artifact.doctor.steps import Precision
from infwidth.config.section import NumericsSettings
from infwidth.models.attention import attend, causal_attention, chosen_implementation
from infwidth.models.fast_ops import product
from infwidth.models.loss import block_size, blocked_mean_loss, cross_entropy

TOLERANCES: dict[Precision, float] = {"float32": 1e-4, "bfloat16": 3e-2}
"""Largest error of a value or a gradient, over the largest value or gradient."""

_HEADS, _C, _T = 2, 64, 64
_V, _BLOCK = 1000, 100


def check_attention(precision: Precision) -> dict[str, Any]:
    """Compares the attention that this device would use, and its gradients, with the plain form."""
    how = chosen_implementation(NumericsSettings(compute_dtype=precision), _C)
    q, k, v, g = _normal(*[(_HEADS * _C, 2 * _T)] * 4)
    chosen = partial(attend, heads=_HEADS, T=_T, implementation=how, dtype=jnp.dtype(precision))
    plain = partial(causal_attention, heads=_HEADS, T=_T)
    qkv = (q / 8, k, v)
    return _compared(f"attention: {how}", precision, chosen, plain, qkv, g)


def check_loss(precision: Precision) -> dict[str, Any]:
    """Compares the loss in blocks of tokens, and its gradients, with the plain form."""
    embedding_VxD, x_DxN = _normal((_V, 64), (64, 256))
    targets_N = jnp.arange(256) * 3 % _V

    def plain(embedding_VxD: jax.Array, x_DxN: jax.Array) -> jax.Array:
        return jnp.mean(cross_entropy(jnp.dot(embedding_VxD, x_DxN), targets_N))

    def blocked(embedding_VxD: jax.Array, x_DxN: jax.Array) -> jax.Array:
        head = partial(product, compute=precision)
        return blocked_mean_loss(head, _BLOCK, embedding_VxD, x_DxN, targets_N)

    inputs = (embedding_VxD / 8, x_DxN)
    return _compared("loss in blocks", precision, blocked, plain, inputs, jnp.ones(()))


def chosen(precision: Precision, vocabulary_size: int, tokens: int) -> dict[str, Any]:
    """What `auto` comes to here: attention with heads of 64, and tokens a block of the loss."""
    numerics = NumericsSettings(compute_dtype=precision)
    return {
        "precision": precision,
        "attention": chosen_implementation(numerics, _C),
        "vocabulary_size": vocabulary_size,
        "tokens": tokens,
        "loss_block": block_size(None, tokens, vocabulary_size) or tokens,
    }


def _compared(
    name: str, precision: Precision, ours: Callable, plain: Callable, inputs: tuple, g: jax.Array
) -> dict[str, Any]:
    def run(function: Callable) -> Callable:
        @jax.jit
        def value_and_gradients(*inputs: jax.Array) -> tuple:
            value, pull = jax.vjp(function, *inputs)
            return value, *pull(g)

        return value_and_gradients

    with jax.default_matmul_precision("highest"):
        expected = run(plain)(*inputs)
    with jax.default_matmul_precision("highest" if precision == "float32" else "default"):
        values = run(ours)(*inputs)
    errors = [
        float(np.max(np.abs(np.subtract(x, reference))) / np.max(np.abs(reference)))
        for x, reference in zip(values, expected, strict=True)
    ]
    difference = float(np.max(errors))
    return {
        "check": name,
        "precision": precision,
        "device": str(jax.devices()[0]),
        "difference": difference,
        "tolerance": TOLERANCES[precision],
        "sound": difference <= TOLERANCES[precision],
    }


def _normal(*shapes: tuple[int, ...]) -> list[jax.Array]:
    random = np.random.default_rng(0)
    return [jnp.asarray(random.normal(size=shape), jnp.float32) for shape in shapes]
