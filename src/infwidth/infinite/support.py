# SPDX-License-Identifier: Apache-2.0
"""The inputs that an infinitely wide layer has seen, their coefficients, and the room for them.

They lie in blocks, in buffers that double when they are full: a run of t inputs moves each of them
about once and compiles its step log₂ t times. All sizes follow from the number of steps alone, so
that a run that is taken up again has the buffers that it would have had.

Shapes: N inputs of dimension D, d = D + 1, E outputs; S steps, B blocks of K inputs (R blocks a
step).
"""

import math
import os
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from infwidth.config.errors import UserError
from infwidth.kernels.inputs import polar

BLOCK_ON_CPU = 256
"""Most rows and columns of a block of Θ, so that a CPU's caches hold it."""

BLOCK_ELSEWHERE = 2048
"""The same for devices that are slow at small products."""

FIRST_INPUTS = 16_384
"""Inputs for which there is room at the start."""

_FLOAT = 4
_CGROUP = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


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
    """How many blocks `count` inputs make, the last filled up, and how many inputs lie in each."""
    largest = BLOCK_ON_CPU if jax.default_backend() == "cpu" else BLOCK_ELSEWHERE
    blocks = -(-count // largest)
    return blocks, -(-count // blocks)


def column_blocks(x_RxN: jax.Array, blocks: int, size: int) -> jax.Array:
    """Cuts a matrix into blocks of columns, (blocks, R, size), filled up with zeros at its end."""
    missing = blocks * size - x_RxN.shape[1]
    padded_RxN = jnp.pad(x_RxN, ((0, 0), (0, missing)))
    return jnp.swapaxes(padded_RxN.reshape(-1, blocks, size), 0, 1)


def polar_columns(x_DxN: jax.Array, bias: float) -> tuple[jax.Array, jax.Array]:
    """Norms and directions of x̃ = (x, b), also where b is 0; the direction is 0 where x̃ is."""
    norm_N, direction_Nxd = polar(jnp.pad(x_DxN, ((0, 1), (0, 0)), constant_values=bias).T)
    return norm_N, direction_Nxd.T


def one_step(x_DxN: jax.Array, delta_ExN: jax.Array, bias: float) -> Support:
    """The support of a single step's inputs and errors, R blocks with c = −δ (that is q = 1)."""
    R, K = block_shape(x_DxN.shape[1])
    norm_N, direction_dxN = polar_columns(x_DxN, bias)
    return Support(
        direction_BxKxd=jnp.swapaxes(column_blocks(direction_dxN, R, K), 1, 2),
        error_BxExK=column_blocks(delta_ExN * norm_N[None, :], R, K),
        q_SxE=jnp.ones((1, delta_ExN.shape[0]), delta_ExN.dtype),
        steps=jnp.ones((), jnp.int32),
    )


def steps_with_room(steps: int, tokens: int) -> int:
    """Steps of N tokens for which buffers have room that must hold some: doubled until they fit."""
    room = max(1, FIRST_INPUTS // tokens)
    while room < steps:
        room *= 2
    return room


def support_bytes(steps: int, tokens: int, d_model: int, layers: int) -> int:
    """The bytes of all layers' buffers, of inputs, errors and one vector a step; E is D."""
    slots = math.prod(block_shape(tokens))
    return _FLOAT * layers * steps * (slots * (d_model + 1 + d_model) + d_model)


def require_memory(steps: int, tokens: int, d_model: int, layers: int) -> None:
    """Refuses a run of these steps whose buffers would outgrow this machine's memory.

    While buffers double the old ones are still there, which makes one and a half times the largest.

    Raises:
      UserError: there is less memory than that; the line has the estimate.
    """
    room = steps_with_room(steps, tokens)
    needed = support_bytes(room, tokens, d_model, layers)
    if room > steps_with_room(1, tokens):
        needed += needed // 2
    there = device_memory()
    if needed > there:
        raise UserError(
            f"the infinitely wide MLPs would keep {steps * tokens:,} inputs in each of {layers} "
            f"layers, which takes {needed / 1e9:.3g} GB of memory where there are "
            f"{there / 1e9:.3g}: lower steps ({steps}) or batch_size"
        )


def device_memory() -> int:
    """The bytes that this process may use on JAX's device: a share of an accelerator, else RAM."""
    limits = jax.devices()[0].memory_stats() or {}
    if "bytes_limit" in limits:
        return int(limits["bytes_limit"])
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([physical, *filter(None, map(_limit, _CGROUP))])


def _limit(file: Path) -> int | None:
    """A container's limit; None where there is none."""
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
