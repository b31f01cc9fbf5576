# SPDX-License-Identifier: Apache-2.0
"""The inputs that an infinitely wide layer has seen, and their coefficients, in blocks.

Shapes: N inputs of dimension D, d = D + 1, E outputs; S steps, B blocks of K inputs (R blocks a
step).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from infwidth.kernels.inputs import polar

BLOCK_ON_CPU = 256
"""Most rows and columns of a block of Θ, so that a CPU's caches hold it."""

BLOCK_ELSEWHERE = 2048
"""The same for devices that are slow at small products."""


class Support(NamedTuple):
    """The inputs seen and their coefficients, c_i = −δ_i ⊙ q_s for an input of step s.

    Slots that are not in use hold zeros, which add nothing to f.
    """

    direction_BxKxd: jax.Array
    """x̃_i / |x̃_i|; the blocks of a step lie one after the other."""
    error_BxExK: jax.Array
    """|x̃_i| δ_i."""
    q_SxE: jax.Array
    """One vector a step."""
    steps: jax.Array
    """How many steps are in use, an integer."""


def block_shape(count: int) -> tuple[int, int]:
    """Cuts `count` inputs into equal blocks; the last is filled up.

    Args:
      count: how many inputs, at least 1.

    Returns:
      Number of blocks, inputs a block.
    """
    largest = BLOCK_ON_CPU if jax.default_backend() == "cpu" else BLOCK_ELSEWHERE
    blocks = -(-count // largest)
    return blocks, -(-count // blocks)


def column_blocks(x_RxN: jax.Array, blocks: int, size: int) -> jax.Array:
    """Cuts a matrix into blocks of columns.

    Args:
      x_RxN: of any height.
      blocks: how many.
      size: columns a block; blocks · size is N or more.

    Returns:
      An array (blocks, R, size), filled up with zeros at its end.
    """
    missing = blocks * size - x_RxN.shape[1]
    padded_RxN = jnp.pad(x_RxN, ((0, 0), (0, missing)))
    return jnp.swapaxes(padded_RxN.reshape(-1, blocks, size), 0, 1)


def polar_columns(x_DxN: jax.Array, bias: float) -> tuple[jax.Array, jax.Array]:
    """Norms and directions of x̃ = (x, b), also where b is 0.

    Args:
      x_DxN: one input a column.
      bias: b.

    Returns:
      norm_N, and direction_dxN, which is 0 where x̃ is 0.
    """
    norm_N, direction_Nxd = polar(jnp.pad(x_DxN, ((0, 1), (0, 0)), constant_values=bias).T)
    return norm_N, direction_Nxd.T


def one_step(x_DxN: jax.Array, delta_ExN: jax.Array, bias: float) -> Support:
    """The support of a single step, with c = −δ (that is q = 1).

    Args:
      x_DxN: the step's inputs, one a column.
      delta_ExN: their errors.
      bias: b.

    Returns:
      A support of R blocks.
    """
    R, K = block_shape(x_DxN.shape[1])
    norm_N, direction_dxN = polar_columns(x_DxN, bias)
    return Support(
        direction_BxKxd=jnp.swapaxes(column_blocks(direction_dxN, R, K), 1, 2),
        error_BxExK=column_blocks(delta_ExN * norm_N[None, :], R, K),
        q_SxE=jnp.ones((1, delta_ExN.shape[0]), delta_ExN.dtype),
        steps=jnp.ones((), jnp.int32),
    )
