# SPDX-License-Identifier: Apache-2.0
"""Running moments of gradients: what every rule with a memory is made of."""

from typing import Any

import jax
import jax.numpy as jnp

from infwidth.optim.axes import WidthAxis, leaf_axes


def mean_square(updates: Any, width_axis: WidthAxis) -> Any:
    """The mean of g² over the width of each leaf.

    Args:
      updates: Gradients.
      width_axis: As in `scale_by_adam_star`.

    Returns:
      A tree of the structure of `updates`: each leaf without its width axis.

    Raises:
      ValueError: `width_axis` does not fit.
    """
    axes = leaf_axes(width_axis, updates)
    return jax.tree.map(lambda g, axis: jnp.mean(jnp.square(g), axis), updates, axes)


def zero_mean_square(params: Any, width_axis: WidthAxis) -> Any:
    """Zeros of the shapes and types that `mean_square` returns."""
    axes = leaf_axes(width_axis, params)
    return jax.tree.map(lambda p, axis: jnp.zeros_like(jnp.mean(p, axis)), params, axes)


def running_mean(new: Any, old: Any, decay: jax.typing.ArrayLike) -> Any:
    """(1 − decay) new + decay old, in the type of the new."""

    def mix(fresh: jax.Array, kept: jax.Array) -> jax.Array:
        weight = number(decay, fresh.dtype)
        return (1 - weight) * fresh + weight * kept.astype(fresh.dtype)

    return jax.tree.map(mix, new, old)


def unbiased(moment: Any, decay: jax.typing.ArrayLike, count: jax.Array) -> Any:
    """A running mean from 0 over `count` steps, divided by the sum of its weights."""
    # In the default float type, since decay**count rounds to 1 in bfloat16.
    steps = count.astype(float)
    correction = 1 - jnp.asarray(decay, steps.dtype) ** steps
    return jax.tree.map(lambda leaf: leaf / correction.astype(leaf.dtype), moment)


def number(value: jax.typing.ArrayLike, dtype: Any) -> Any:
    """A Python number stays one, so that constants are rounded once, as optax rounds them."""
    return value if isinstance(value, int | float) else jnp.asarray(value, dtype)
