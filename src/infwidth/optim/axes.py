# SPDX-License-Identifier: Apache-2.0
"""Which axis of a parameter is its width: one argument, `width_axis`, read in one place."""

import operator
from collections.abc import Callable
from typing import Any

import jax

WidthAxis = int | Any | Callable[[Any], Any]
"""An int, a pytree of ints that is a prefix of the parameters, or a callable that returns either.

The callable is given the parameters (or the gradients, which have the same structure and shapes).
"""


def leaf_axes(width_axis: WidthAxis, tree: Any) -> Any:
    """Finds the width axis of every leaf of a pytree.

    Args:
      width_axis: An int (negative ones count from the end), a pytree prefix of ints, or a callable
        from `tree` to either.
      tree: Parameters or gradients. Only structure and shapes are read.

    Returns:
      A pytree with the structure of `tree`: for each leaf a non-negative axis.

    Raises:
      ValueError: The axes do not fit the tree, one is not an int, or one is out of range.
    """
    axes = width_axis(tree) if callable(width_axis) else width_axis
    try:
        axes = jax.tree.broadcast(axes, tree)
    except ValueError:
        raise ValueError(
            "width_axis must be an int or a pytree prefix of the parameters: "
            f"{jax.tree.structure(axes)} is no prefix of {jax.tree.structure(tree)}"
        ) from None
    return jax.tree_util.tree_map_with_path(_leaf_axis, tree, axes)


def _leaf_axis(path: Any, leaf: jax.Array, axis: Any) -> int:
    try:
        index = operator.index(axis)
    except TypeError:
        raise ValueError(
            f"width_axis must hold plain ints, not {type(axis).__name__}; under "
            "optax.inject_hyperparams name it in static_args"
        ) from None
    if not -leaf.ndim <= index < leaf.ndim:
        name = jax.tree_util.keystr(path) or "the parameter"
        raise ValueError(f"width_axis {index} is out of range for {name} of shape {leaf.shape}")
    return index % leaf.ndim
