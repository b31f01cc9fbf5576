# SPDX-License-Identifier: Apache-2.0
"""SGD, momentum, weight decay and clipping at infinite width, under their names at finite width.

Each is its namesake of optax or `infwidth.optim`, applied to all readouts M_ω at once: the same
hyperparameters, the same numbers up to the difference between a mean over H units and an
expectation. Every rule here keeps the kernel: M_ω stays a combination of the features of the
inputs seen (docs/theory.md, sections 6 to 8 and 13). Those of optax that do not are here by name,
so that whoever takes a rule from finite width to infinite width is told why it does not come along.

Shapes: N examples in the data set, K of them in a batch, E outputs.
"""

import math
from collections.abc import Callable
from typing import Any, NoReturn

import jax
import jax.numpy as jnp

from infwidth.infinite.gradient import (
    FunctionalGradient,
    KernelTransformation,
    Number,
    Updates,
    as_type_of,
    chain,
    of_batch,
    over_data,
)
from infwidth.optim.functional import check_max_norm

Schedule = Callable[[jax.Array], jax.typing.ArrayLike]
"""From the number of steps already taken, int32, to a number."""


def sgd(
    learning_rate: Number | Schedule,
    momentum: Number | None = None,
    nesterov: bool = False,
    *,
    weight_decay: Number | Schedule = 0.0,
) -> KernelTransformation:
    """SGD, with momentum if given: the traditional NTK (docs/theory.md, equation (7)).

    Args:
      learning_rate: η, a number, or a function of the steps taken.
      momentum: Decay of the sum of gradients; None is none.
      nesterov: Whether the momentum looks one step ahead.
      weight_decay: λ, decoupled and multiplied by the learning rate.

    Returns:
      The transformation, to be used with `apply_updates`.
    """
    rule = chain() if momentum is None else trace(momentum, nesterov)
    return with_rate_and_decay(rule, learning_rate, weight_decay)


def trace(decay: Number, nesterov: bool = False) -> KernelTransformation:
    """Momentum, as `optax.trace`: the sum of all gradients so far, each older one times `decay`.

    The sum is the state, coefficients of shape (N, E); `nesterov` looks one step ahead.
    """

    def update(
        updates: Updates, trace_NxE: jax.Array, c_NxE: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        del c_NxE
        kept = as_type_of(decay, trace_NxE)
        fresh_NxE = over_data(updates, trace_NxE)
        trace_NxE = fresh_NxE + kept * trace_NxE
        return (fresh_NxE + kept * trace_NxE if nesterov else trace_NxE), trace_NxE

    return KernelTransformation(jnp.zeros_like, update)


def clip_by_functional_norm(max_norm: Number) -> KernelTransformation:
    """Clips a functional gradient to a largest norm, ‖G‖² = Σ_e δᵀΘδ.

    Args:
      max_norm: The largest norm allowed, positive.

    Returns:
      A stateless transformation; put it before any momentum.

    Raises:
      ValueError: `max_norm` is a number that is not positive.

    References:
      docs/theory.md, equation (13).
    """
    check_max_norm(max_norm)

    def update(
        updates: Updates, state: tuple, c_NxE: jax.Array | None = None
    ) -> tuple[Updates, tuple]:
        del c_NxE
        gradient = of_batch(updates, "clip_by_functional_norm")
        norm = jnp.sqrt(jnp.sum(gradient.mean_square()))
        bound = as_type_of(max_norm, norm)
        bites = norm > bound
        shrink = jnp.where(bites, bound / jnp.where(bites, norm, 1), 1)
        return gradient.scaled(shrink), state

    return KernelTransformation(lambda _: (), update)


def scale_by_learning_rate(learning_rate: Number | Schedule) -> KernelTransformation:
    """Multiplies by −η, a number or a function of the number of steps, which is the state."""

    def update(
        updates: Updates, count: jax.Array, c_NxE: jax.Array | None = None
    ) -> tuple[Updates, jax.Array]:
        del c_NxE
        if isinstance(updates, FunctionalGradient):
            return updates.scaled(-_value(learning_rate, count, updates.delta_KxE)), count + 1
        return -_value(learning_rate, count, updates) * updates, count + 1

    return KernelTransformation(lambda _: jnp.zeros([], jnp.int32), update)


def add_decayed_weights(weight_decay: Number | Schedule = 0.0) -> KernelTransformation:
    """Adds λ M, and so λ c, to the updates, as `optax.add_decayed_weights`.

    Before the learning rate it is decoupled weight decay as in AdamW, −η (u + λ M).

    Args:
      weight_decay: λ, a number, or a function of the steps taken.

    Returns:
      A transformation whose state is the number of steps taken; `update` needs the coefficients.

    References:
      docs/theory.md, equation (14).
    """

    def update(
        updates: Updates, count: jax.Array, c_NxE: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        if c_NxE is None:
            raise ValueError("weight decay needs the coefficients: update(updates, state, c)")
        # Subtracted, since a compiler may round a sum of a product otherwise than a difference.
        minus = -_value(weight_decay, count, c_NxE)
        return over_data(updates, c_NxE) - minus * c_NxE, count + 1

    return KernelTransformation(lambda _: jnp.zeros([], jnp.int32), update)


def with_rate_and_decay(
    rule: KernelTransformation,
    learning_rate: Number | Schedule,
    weight_decay: Number | Schedule,
    after_rate: KernelTransformation | None = None,
) -> KernelTransformation:
    """−η (u + λ M), with u what the rule makes of a gradient; −ηu may go through momentum."""
    rate = scale_by_learning_rate(learning_rate)
    moved = chain(rule, rate) if after_rate is None else chain(rule, rate, after_rate)
    if isinstance(weight_decay, int | float) and weight_decay == 0:
        return moved
    if after_rate is None:
        return chain(rule, add_decayed_weights(weight_decay), rate)

    def share(count: jax.Array) -> Number:
        factors = (
            value(count) if callable(value) else value for value in (learning_rate, weight_decay)
        )
        return -jnp.asarray(math.prod(factors))

    return chain(moved, add_decayed_weights(share))


def _value(number: Number | Schedule, count: jax.Array, like: jax.Array) -> jax.Array:
    return as_type_of(number(count) if callable(number) else number, like)


def _refused(name: str, why: str, better: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise ValueError(
            f"{name} has no kernel form: {why}, so that the step leaves the span of the features "
            f"seen (docs/theory.md, sections 5 and 8); use {better}"
        )

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = f"Refused: {why}; use `{better}`."
    return refuse


_OWN_MOMENT = "it divides every unit by a second moment of its own"
_OWN_SUM = "it divides every unit by a sum of squares of its own"
_SIGN = "the sign of a unit's gradient is not linear in it"

adagrad = _refused("adagrad", _OWN_SUM, "adagrad_star")
"""Refused: use `adagrad_star`."""
adam = _refused("adam", _OWN_MOMENT, "adam_star")
"""Refused: use `adam_star`."""
adamw = _refused("adamw", _OWN_MOMENT, "adam_star")
"""Refused: use `adam_star`."""
clip = _refused("clip", "it clips every unit by itself", "clip_by_functional_norm")
"""Refused: use `clip_by_functional_norm`."""
lion = _refused("lion", _SIGN, "adam_star")
"""Refused: use `adam_star`."""
nadam = _refused("nadam", _OWN_MOMENT, "nadam_star")
"""Refused: use `nadam_star`."""
rmsprop = _refused("rmsprop", _OWN_MOMENT, "rmsprop_star")
"""Refused: use `rmsprop_star`."""
scale_by_adam = _refused("scale_by_adam", _OWN_MOMENT, "scale_by_adam_star")
"""Refused: use `scale_by_adam_star`."""
scale_by_rms = _refused("scale_by_rms", _OWN_MOMENT, "scale_by_rms_star")
"""Refused: use `scale_by_rms_star`."""
scale_by_rss = _refused("scale_by_rss", _OWN_SUM, "scale_by_adagrad_star")
"""Refused: use `scale_by_adagrad_star`."""
scale_by_sign = _refused("scale_by_sign", _SIGN, "scale_by_adam_star")
"""Refused: use `scale_by_adam_star`."""
sign_sgd = _refused("sign_sgd", _SIGN, "adam_star")
"""Refused: use `adam_star`."""
