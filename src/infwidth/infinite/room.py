# SPDX-License-Identifier: Apache-2.0
"""Room for the inputs that an infinitely wide layer has seen: how much, and whether it fits.

The buffers double when they are full, so that a run of t inputs moves each of them about once and
compiles its step log₂ t times. All sizes follow from the number of steps alone: a run that is taken
up again has the buffers that it would have had.
"""

import math
import os
from pathlib import Path

import jax

from infwidth.config.errors import UserError
from infwidth.infinite.support import block_shape

FIRST_INPUTS = 16_384
"""Inputs for which there is room at the start."""

_FLOAT = 4
_CGROUP = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def steps_with_room(steps: int, tokens: int) -> int:
    """The size of buffers that must hold some steps: the first size, doubled until they fit.

    Args:
      steps: how many steps must fit.
      tokens: inputs a step, N.

    Returns:
      The number of steps that do fit.
    """
    room = max(1, FIRST_INPUTS // tokens)
    while room < steps:
        room *= 2
    return room


def support_bytes(steps: int, tokens: int, d_model: int, layers: int) -> int:
    """The bytes of all layers' buffers, of inputs, errors and one vector a step.

    Args:
      steps: how many steps fit.
      tokens: inputs a step, N.
      d_model: D, which is E, too.
      layers: how many layers.

    Returns:
      Bytes.
    """
    slots = math.prod(block_shape(tokens))
    return _FLOAT * layers * steps * (slots * (d_model + 1 + d_model) + d_model)


def require_memory(steps: int, tokens: int, d_model: int, layers: int) -> None:
    """Refuses a run whose buffers would outgrow this machine's memory, before it starts.

    While buffers double the old ones are still there, which makes one and a half times the largest.

    Args:
      steps: of the whole run.
      tokens: inputs a step, N.
      d_model: D.
      layers: how many layers.

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
