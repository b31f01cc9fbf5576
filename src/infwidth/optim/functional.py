# SPDX-License-Identifier: Apache-2.0
"""Functional gradients: what a gradient is once the width has been taken out of it.

In f(x) = (1/H) Σ_h M_h g_h(x) every gradient with respect to M_h or to a parameter of g_h carries
the factor 1/H. Multiplied by H it has a limit as H → ∞, and so has its norm, in which the sum over
the H units is a mean (docs/theory.md, sections 2 and 8).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from infwidth.optim.axes import LeafAxes, WidthAxis, leaf_axes
from infwidth.optim.moments import power_of_two, root, squared, wide


def scale_by_width(width_axis: WidthAxis = None) -> optax.GradientTransformationExtraArgs:
    """Turns gradients into functional gradients, G = H ∂L/∂M.

    Every leaf is multiplied by its own size along the width axis. Put it first in a chain, so that
    neither clipping nor ε depends on the width.

    Args:
      width_axis: The axis of size H, as in `scale_by_adam_star`.

    Returns:
      A stateless transformation.

    Raises:
      ValueError: At update, `width_axis` does not fit the gradients.

    Examples:
      >>> import jax.numpy as jnp, optax
      >>> from infwidth.optim import scale_by_width
      >>> functional = scale_by_width()
      >>> updates, _ = functional.update(jnp.ones((4, 2)), functional.init(jnp.ones((4, 2))))
      >>> print(updates[0])
      [4. 4.]

    References:
      docs/theory.md, equation (3).
    """

    def update(updates: Any, params: Any = None) -> Any:
        del params
        axes = leaf_axes(width_axis, updates)
        return jax.tree.map(lambda leaf, own: leaf * leaf.shape[own.width], updates, axes)

    return optax.with_extra_args_support(optax.stateless(update))


def clip_by_functional_norm(
    max_norm: jax.typing.ArrayLike, width_axis: WidthAxis = None
) -> optax.GradientTransformationExtraArgs:
    """Clips each leaf, a functional gradient, to a largest norm that means the same at every width.

    For a leaf G of shape (H, E) the norm is ‖G‖² = (1/H) Σ_h Σ_e |G_he|², a mean over the width and
    a sum over all other axes; each layer of a `Stacked` has its own. A leaf with ‖G‖ > max_norm is
    multiplied by max_norm / ‖G‖. For a readout ‖G‖² = Σ_e δᵀΘδ, so that the clipped step is still
    one in the kernel Θ.

    Args:
      max_norm: The largest norm allowed, positive.
      width_axis: The axis of size H, as in `scale_by_adam_star`.

    Returns:
      A stateless transformation. It does not multiply by H: `scale_by_width` does.

    Raises:
      ValueError: `max_norm` is a number that is not positive; at update, `width_axis` does not fit
        the gradients.

    Examples:
      >>> import jax.numpy as jnp, optax
      >>> from infwidth.optim import clip_by_functional_norm, scale_by_width
      >>> clip = optax.chain(scale_by_width(), clip_by_functional_norm(1.0))
      >>> updates, _ = clip.update(jnp.ones((4, 1)), clip.init(jnp.ones((4, 1))))
      >>> print(updates[0])
      [1.]

    References:
      docs/theory.md, equation (13).
    """
    check_max_norm(max_norm)

    def clip(leaf: jax.Array, axes: LeafAxes) -> jax.Array:
        unit = power_of_two(wide(leaf))
        square = squared(wide(leaf) * unit)
        summed = tuple(sorted((axes.width, *axes.outputs)))
        norm = root(jnp.sum(square, summed, keepdims=True) / leaf.shape[axes.width])
        bound = jnp.asarray(max_norm, norm.dtype) * unit.real
        bites = norm > bound
        shrink = jnp.where(bites, bound / jnp.where(bites, norm, 1), 1)
        return leaf * shrink.astype(leaf.dtype)

    def update(updates: Any, params: Any = None) -> Any:
        del params
        return jax.tree.map(clip, updates, leaf_axes(width_axis, updates))

    return optax.with_extra_args_support(optax.stateless(update))


def check_max_norm(max_norm: jax.typing.ArrayLike) -> None:
    """Refuses a bound that is none; an array of JAX may be traced, and is taken as it comes."""
    if isinstance(max_norm, int | float | np.generic) and not max_norm > 0:
        raise ValueError(f"max_norm must be positive; got {max_norm}")
