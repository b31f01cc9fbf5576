# SPDX-License-Identifier: Apache-2.0
"""Moments of functional gradients: what every rule with a memory is made of.

Shapes: N examples in the data set, E outputs.
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from infwidth.infinite.gradient import FunctionalGradient
from infwidth.optim.moments import root

Number = jax.typing.ArrayLike

SecondMoment = Literal["per_output", "global", "error"]
"""What the second moment is the running mean of: E_ω[G²], its mean over outputs, or Σ_i δ_i²."""

_NOT_KEPT = {
    "factored": "it differs from unit to unit, which leaves the kernel for one that moves",
    "elementwise": "it differs from unit to unit, which no kernel describes",
}


def check_second_moment(name: str) -> None:
    """Raises ValueError where a second moment is unknown, or leaves the kernel."""
    if name in _NOT_KEPT:
        raise ValueError(f"second_moment {name!r} has no kernel form: {_NOT_KEPT[name]}")
    if name not in get_args(SecondMoment):
        known = ", ".join(get_args(SecondMoment))
        raise ValueError(f"second_moment must be one of {known}, not {name!r}")


def zero_moment(second_moment: SecondMoment, c_NxE: jax.Array) -> jax.Array:
    """A second moment before the first gradient, of the shape of `observed`."""
    return jnp.zeros(() if second_moment == "global" else c_NxE.shape[1:], c_NxE.dtype)


def observed(second_moment: SecondMoment, gradient: FunctionalGradient) -> jax.Array:
    """What of a gradient the second moment is the mean of: shape (E,), or a scalar."""
    if second_moment == "error":
        return gradient.squared_error()
    square_E = gradient.mean_square()
    return jnp.mean(square_E) if second_moment == "global" else square_E


def running_mean(fresh: jax.Array, kept: jax.Array, decay: Number) -> jax.Array:
    """(1 − decay) fresh + decay kept, in the type of what is kept."""
    weight = as_type_of(decay, kept)
    return (1 - weight) * fresh.astype(kept.dtype) + weight * kept


def unbiased(moment: jax.Array, decay: Number, count: jax.Array) -> jax.Array:
    """A running mean from 0 over `count` steps, divided by the sum of its weights."""
    return moment / (1 - as_type_of(decay, moment) ** count.astype(moment.dtype))


def size(v: jax.Array, eps: Number, eps_root: Number = 0.0) -> jax.Array:
    """√(v + ε_root) + ε, what a gradient is divided by; 1 where that is 0, as the gradient is."""
    if not (isinstance(eps_root, int | float) and eps_root == 0):
        v = v + as_type_of(eps_root, v)
    divisor = root(v) + as_type_of(eps, v)
    return jnp.where(divisor == 0, 1, divisor)


def as_type_of(value: Number, like: jax.Array) -> jax.Array:
    """A number as an array of the type of another."""
    return jnp.asarray(value, like.dtype)
