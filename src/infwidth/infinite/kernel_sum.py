# SPDX-License-Identifier: Apache-2.0
"""f(x) = Σ_i c_i Θ(x, x_i) over very many inputs x_i, in blocks, with its gradient in x.

It is an attention over all inputs seen, with Θ in the place of the softmax. No matrix of all x by
all x_i is ever made: a block of it is multiplied by coefficients as soon as it is there, and is
made again in the backward pass.

With u = x̃/|x̃|, ρ_i = u_i·u, J and P the arc-cosine functions of degree 1 and 0, equations (5) and
(6) of docs/theory.md read

    h = Σ_i |x̃_i| c_i J(ρ_i)                                        f = |x̃| h / (2πd)
    w = Σ_i u_i P(ρ_i) (|x̃_i| c_i·g)       ∂(g·f)/∂x̃ = (w + u (g·h − u·w)) / (2πd)

since the term of (6) along x̃ can be had from f's own value, f being homogeneous of degree 1 in x̃.

Shapes: N inputs at which f is wanted, D their dimension, d = D + 1, E outputs; S steps, B blocks of
K inputs seen (some blocks a step), Q columns of a block of N.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from infwidth.infinite.support import Support, block_shape, column_blocks, polar_columns
from infwidth.kernels.arc_cosine import arc_cosine_0, arc_cosine_1
from infwidth.optim.moments import product


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def kernel_sum(x_DxN: jax.Array, support: Support, bias: float) -> jax.Array:
    """Computes f_ExN = Σ_i c_i Θ(x, x_i) of the columns of x, with Θ the kernel of ReLU features.

    The gradient flows to x alone: the support is held fixed. Values and gradients are finite
    everywhere, x = x_i and x̃ = 0 (where the gradient is given as 0) included. In float32 the
    kernel's error is a few roundings of √(Θ(x, x) Θ(x_i, x_i)).

    Work: N · (B K) · (d + E) multiplications, twice that and d more backward, over the steps in
    use. Memory: a block of Θ, and what the size of the arguments and of the result is.

    References:
      docs/theory.md, equations (5), (6) and (10).
    """
    return _forward(x_DxN, support, bias)[0]


def _forward(x_DxN: jax.Array, support: Support, bias: float) -> tuple[jax.Array, tuple]:
    norm_N, direction_dxN = polar_columns(x_DxN, bias)
    h_ExN = _by_columns(partial(_weighted_sum, support), direction_dxN)
    f_ExN = h_ExN * (norm_N / _two_pi_d(support))[None, :]
    return f_ExN, (norm_N, direction_dxN, h_ExN, support)


def _backward(bias: float, residuals: tuple, g_ExN: jax.Array) -> tuple:
    del bias
    norm_N, direction_dxN, h_ExN, support = residuals
    w_dxN = _by_columns(partial(_weighted_directions, support), direction_dxN, g_ExN)
    radial_N = jnp.sum(g_ExN * h_ExN, axis=0) - jnp.sum(direction_dxN * w_dxN, axis=0)
    gradient_dxN = (w_dxN + direction_dxN * radial_N[None, :]) / _two_pi_d(support)
    gradient_dxN = jnp.where((norm_N > 0)[None, :], gradient_dxN, 0)
    return gradient_dxN[:-1], None


kernel_sum.defvjp(_forward, _backward)


def _two_pi_d(support: Support) -> float:
    return 2 * math.pi * support.direction_BxKxd.shape[-1]


def _by_columns(function: Callable[..., jax.Array], *columns: jax.Array) -> jax.Array:
    """Applies a function of matrices of Q columns to matrices of N columns, block after block."""
    blocks, Q = block_shape(columns[0].shape[1])
    if blocks == 1:
        return function(*columns)
    cut = tuple(column_blocks(x_RxN, blocks, Q) for x_RxN in columns)
    results = jax.lax.map(lambda block: function(*block), cut)
    return jnp.swapaxes(results, 0, 1).reshape(results.shape[1], -1)[:, : columns[0].shape[1]]


def _weighted_sum(support: Support, direction_dxQ: jax.Array) -> jax.Array:
    """h_ExQ = Σ_i |x̃_i| c_i J(ρ_i) for some directions."""

    def add(block: jax.Array, h_ExQ: jax.Array) -> jax.Array:
        cosine_KxQ = product(support.direction_BxKxd[block], direction_dxQ)
        theta_KxQ = arc_cosine_1(1 - cosine_KxQ, 1 + cosine_KxQ)
        return h_ExQ + product(_coefficients(support, block), theta_KxQ)

    E, Q = support.q_SxE.shape[1], direction_dxQ.shape[1]
    return _over_blocks(support, add, jnp.zeros((E, Q), direction_dxQ.dtype))


def _weighted_directions(support: Support, direction_dxQ: jax.Array, g_ExQ: jax.Array) -> jax.Array:
    """w_dxQ = Σ_i u_i P(ρ_i) (|x̃_i| c_i·g) for some directions and the gradients g there."""

    def add(block: jax.Array, w_dxQ: jax.Array) -> jax.Array:
        seen_Kxd = support.direction_BxKxd[block]
        cosine_KxQ = product(seen_Kxd, direction_dxQ)
        slope_KxQ = product(_coefficients(support, block).T, g_ExQ)
        slope_KxQ = slope_KxQ * arc_cosine_0(1 - cosine_KxQ, 1 + cosine_KxQ)
        return w_dxQ + product(seen_Kxd.T, slope_KxQ)

    return _over_blocks(support, add, jnp.zeros_like(direction_dxQ))


def _over_blocks(
    support: Support, add: Callable[[jax.Array, jax.Array], jax.Array], start: jax.Array
) -> jax.Array:
    """Adds up over the blocks in use, to which the rest of the room costs nothing."""
    return jax.lax.fori_loop(0, support.steps * _blocks_a_step(support), add, start)


def _coefficients(support: Support, block: jax.Array) -> jax.Array:
    """|x̃_i| c_i of a block, one column an input."""
    q_E = support.q_SxE[block // _blocks_a_step(support)]
    return -q_E[:, None] * support.error_BxExK[block]


def _blocks_a_step(support: Support) -> int:
    return support.direction_BxKxd.shape[0] // support.q_SxE.shape[0]
