# SPDX-License-Identifier: Apache-2.0
"""Which axis of a parameter is its width: one argument, `width_axis`, read in one place."""

import dataclasses
import operator
from typing import Any

import jax

WidthAxis = Any
"""None (the first axis), an int, a `Stacked`, a pytree prefix of these, or a function that returns
any of them from the parameters (or the gradients, of the same structure and shapes)."""


@dataclasses.dataclass(frozen=True)
class Stacked:
    """The axes of a leaf that holds several layers, as `jax.vmap` or a scan over layers makes it.

    Each layer has moments and norms of its own.

    Examples:
      >>> import jax.numpy as jnp
      >>> from infwidth.optim import Stacked, scale_by_adam_star
      >>> readouts_LxHxE = jnp.zeros((6, 1024, 8))
      >>> rule = scale_by_adam_star(width_axis=Stacked(width=1), second_moment="global")
      >>> rule.init(readouts_LxHxE).nu.shape
      (6,)
    """

    width: int
    """The width axis."""
    layers: int | tuple[int, ...] = 0
    """The axis, or axes, along which the layers lie."""


@dataclasses.dataclass(frozen=True)
class LeafAxes:
    """The axes of one leaf, counted from 0 and in order."""

    width: int
    layers: tuple[int, ...]
    outputs: tuple[int, ...]
    """All others."""


def leaf_axes(width_axis: WidthAxis, tree: Any) -> Any:
    """A tree of the structure of `tree` with a `LeafAxes` in the place of each leaf."""
    # Such as the placeholder by which optax finds the parameters in a state.
    if not jax.tree.leaves(tree):
        return tree
    # A module may be a pytree of axes and have `__call__`; a function is a leaf.
    if callable(width_axis) and jax.tree_util.all_leaves([width_axis]):
        width_axis = width_axis(tree)
    axes = jax.tree.map(
        lambda axis: 0 if axis is None else axis, width_axis, is_leaf=lambda axis: axis is None
    )
    try:
        axes = jax.tree.broadcast(axes, tree)
    except ValueError:
        raise ValueError(
            "width_axis must be an int or a pytree prefix of the parameters: "
            f"{jax.tree.structure(axes)} is no prefix of {jax.tree.structure(tree)}"
        ) from None
    return jax.tree_util.tree_map_with_path(_of_leaf, tree, axes)


def _of_leaf(path: Any, leaf: jax.Array, axis: Any) -> LeafAxes:
    stacked = axis if isinstance(axis, Stacked) else Stacked(axis, ())
    layers = stacked.layers if isinstance(stacked.layers, tuple) else (stacked.layers,)
    name = jax.tree_util.keystr(path) or "the parameter"
    found = []
    for each in (stacked.width, *layers):
        try:
            index = operator.index(each)
        except TypeError:
            raise ValueError(
                f"width_axis must hold plain ints, not {type(each).__name__}; under "
                "optax.inject_hyperparams name it in static_args"
            ) from None
        if not -leaf.ndim <= index < leaf.ndim:
            if leaf.ndim == 0:
                raise ValueError(
                    f"width_axis {index} is out of range for {name} of shape (): a scalar has no "
                    "width; give it another rule by optax.partition"
                )
            raise ValueError(f"width_axis {index} is out of range for {name} of shape {leaf.shape}")
        found.append(index % leaf.ndim)
    if len(set(found)) < len(found):
        raise ValueError(f"width_axis {axis} names an axis twice for {name} of shape {leaf.shape}")
    width, *of_layers = found
    others = tuple(each for each in range(leaf.ndim) if each not in found)
    return LeafAxes(width, tuple(sorted(of_layers)), others)
