# SPDX-License-Identifier: Apache-2.0
"""Optimizers at infinite width, under the names that they have at finite width.

Each is its namesake of optax or `infwidth.optim`, applied to all readouts M_ω at once: the same
hyperparameters, the same numbers up to the difference between a mean over H units and an
expectation. Every rule here keeps the kernel: M_ω stays a combination of the features of the
inputs seen (docs/theory.md, sections 6 to 8 and 13).

Shapes: N examples in the data set, K of them in a batch, E outputs.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from infwidth.infinite.gradient import (
    FunctionalGradient,
    KernelTransformation,
    Updates,
    of_batch,
    over_data,
)
from infwidth.infinite.moments import (
    Number,
    SecondMoment,
    as_type_of,
    check_second_moment,
    divided,
    observed,
    running_mean,
    unbiased,
    zero_moment,
)

Schedule = Callable[[jax.Array], jax.typing.ArrayLike]
"""From the number of steps already taken, int32, to a number."""


class ScaleByAdamStarState(NamedTuple):
    """State of ADAM*: N E + E numbers."""

    count: jax.Array  # type: ignore[assignment]  # the name optax knows it by
    """Steps taken, int32."""
    mu_NxE: jax.Array
    """Coefficients of the running mean of the gradient."""
    nu: jax.Array
    """Running mean of the shared square: shape (E,), or a scalar."""


def scale_by_adam_star(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    second_moment: SecondMoment = "per_output",
    bias_correction: bool = True,
) -> KernelTransformation:
    """Rescales a functional gradient by ADAM*: m̂ / (√v̂ + ε), in coefficients.

    Args:
      b1: Decay of the running mean of the gradient.
      b2: Decay of the running mean of the squared gradient.
      eps: Added to the root of the second moment.
      second_moment: `per_output`: one v for each output; `global`: one for all of them; `error`:
        for each output the sum of δ² over the examples of the batch, where one that stands in it
        twice has the sum of both.
      bias_correction: Whether m and v are divided by the sums of their weights; without it this is
        `scale_by_adam_star_uncorrected` of `infwidth.optim`.

    Returns:
      A transformation whose state is a `ScaleByAdamStarState`.

    Raises:
      ValueError: `second_moment` is unknown, or leaves the kernel.

    Examples:
      >>> import jax.numpy as jnp
      >>> from infwidth import infinite
      >>> infinite.scale_by_adam_star().init(jnp.zeros((100, 8))).nu.shape
      (8,)

    References:
      Sernau, arXiv 2406.18800, as reconstructed in docs/theory.md, equation (9); `global` and
      `error` are rows A and C of the table in its section 7.
    """
    check_second_moment(second_moment)

    def init(c_NxE: jax.Array) -> ScaleByAdamStarState:
        return ScaleByAdamStarState(
            jnp.zeros([], jnp.int32), jnp.zeros_like(c_NxE), zero_moment(second_moment, c_NxE)
        )

    def update(
        updates: Updates, state: ScaleByAdamStarState, c_NxE: jax.Array | None = None
    ) -> tuple[jax.Array, ScaleByAdamStarState]:
        del c_NxE
        gradient = of_batch(updates, "scale_by_adam_star")
        count = state.count + 1
        mu_NxE = running_mean(over_data(gradient, state.mu_NxE), state.mu_NxE, b1)
        nu = running_mean(observed(second_moment, gradient), state.nu, b2)
        m_NxE, v = mu_NxE, nu
        if bias_correction:
            m_NxE, v = unbiased(mu_NxE, b1, count), unbiased(nu, b2, count)
        return divided(m_NxE, v, eps), ScaleByAdamStarState(count, mu_NxE, nu)

    return KernelTransformation(init, update)


class ScaleByRmsStarState(NamedTuple):
    """State of RMSprop*: E numbers."""

    count: jax.Array  # type: ignore[assignment]  # the name optax knows it by
    """Steps taken, int32."""
    nu: jax.Array
    """Running mean of the shared square: shape (E,), or a scalar."""


def scale_by_rms_star(
    b2: Number = 0.999,
    eps: Number = 1e-8,
    second_moment: SecondMoment = "per_output",
    bias_correction: bool = True,
) -> KernelTransformation:
    """Rescales a functional gradient by RMSprop*: 1 / (√v̂ + ε), with v as in ADAM*.

    Args:
      b2: Decay of the running mean of the squared gradient.
      eps: Added to the root of the second moment.
      second_moment: as in `scale_by_adam_star`.
      bias_correction: Whether v is divided by the sum of its weights.

    Returns:
      A transformation whose state is a `ScaleByRmsStarState`; what it returns is still the gradient
      of a batch.

    Raises:
      ValueError: `second_moment` is unknown, or leaves the kernel.

    References:
      docs/theory.md, equation (23).
    """
    check_second_moment(second_moment)

    def init(c_NxE: jax.Array) -> ScaleByRmsStarState:
        return ScaleByRmsStarState(jnp.zeros([], jnp.int32), zero_moment(second_moment, c_NxE))

    def update(
        updates: Updates, state: ScaleByRmsStarState, c_NxE: jax.Array | None = None
    ) -> tuple[Updates, ScaleByRmsStarState]:
        del c_NxE
        gradient = of_batch(updates, "scale_by_rms_star")
        count = state.count + 1
        nu = running_mean(observed(second_moment, gradient), state.nu, b2)
        v = unbiased(nu, b2, count) if bias_correction else nu
        return gradient.scaled(1 / (jnp.sqrt(v) + as_type_of(eps, v))), ScaleByRmsStarState(
            count, nu
        )

    return KernelTransformation(init, update)


def trace(decay: Number, nesterov: bool = False) -> KernelTransformation:
    """Momentum: the sum of all gradients so far, each older one times `decay`, as `optax.trace`.

    Args:
      decay: Share of the trace that is kept at every step.
      nesterov: Whether to look one step ahead.

    Returns:
      A transformation whose state is the trace, coefficients of shape (N, E).
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

    References:
      docs/theory.md, equation (13).

    Raises:
      ValueError: the norm is a number that is not positive.
    """
    if isinstance(max_norm, int | float) and not max_norm > 0:
        raise ValueError(f"max_norm must be positive; got {max_norm}")

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


def scale_by_learning_rate(
    learning_rate: Number | Schedule, schedule: Schedule | None = None
) -> KernelTransformation:
    """Multiplies by −η_t, the learning rate times the schedule.

    Args:
      learning_rate: η, a number, or a function of the steps taken.
      schedule: s_t, a factor; None is 1.

    Returns:
      A transformation whose state is the number of steps taken.
    """

    def update(
        updates: Updates, count: jax.Array, c_NxE: jax.Array | None = None
    ) -> tuple[Updates, jax.Array]:
        del c_NxE
        rate = learning_rate(count) if callable(learning_rate) else learning_rate
        if isinstance(updates, FunctionalGradient):
            like = updates.delta_KxE
            return updates.scaled(
                -as_type_of(rate, like) * _value(schedule, count, like)
            ), count + 1
        return -as_type_of(rate, updates) * _value(schedule, count, updates) * updates, count + 1

    return KernelTransformation(lambda _: jnp.zeros([], jnp.int32), update)


def decay_weights(weight_decay: Number, schedule: Schedule | None = None) -> KernelTransformation:
    """Decoupled weight decay by the schedule: multiplies M, and so c, by d_t = 1 − s_t λ.

    Its place is after the learning rate, by which it is not multiplied.

    Args:
      weight_decay: λ.
      schedule: s_t in [0, 1]; None is 1.

    Returns:
      A transformation whose state is the number of steps taken.

    References:
      docs/theory.md, equation (14).
    """

    def update(
        updates: Updates, count: jax.Array, c_NxE: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        if c_NxE is None:
            raise ValueError("decay_weights needs the coefficients: update(updates, state, c)")
        share = as_type_of(weight_decay, c_NxE) * _value(schedule, count, c_NxE)
        return over_data(updates, c_NxE) - share * c_NxE, count + 1

    return KernelTransformation(lambda _: jnp.zeros([], jnp.int32), update)


def _value(schedule: Schedule | None, count: jax.Array, like: jax.Array) -> jax.Array:
    return as_type_of(1 if schedule is None else schedule(count), like)
