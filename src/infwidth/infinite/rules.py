"""Optimizers at infinite width, under the names that they have at finite width.

Each is its namesake of optax or `infwidth.optim`, applied to all readouts M_ω at once: the same
hyperparameters, the same numbers up to the difference between a mean over H units and an
expectation. Every rule here keeps the kernel: M_ω stays a combination of the features of the
inputs seen (docs/theory.md, sections 6 to 8).

Shapes: N examples in the data set, K of them in a batch, E outputs.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from infwidth.infinite.gradient import (
    FunctionalGradient,
    KernelTransformation,
    Updates,
    of_batch,
    over_data,
)

Number = jax.typing.ArrayLike
Schedule = Callable[[jax.Array], jax.typing.ArrayLike]
"""From the number of steps already taken, int32, to a number."""

SecondMoment = Literal["per_output", "global", "error"]
"""What the second moment is the running mean of: E_ω[G²], its mean over outputs, or Σ_i δ_i²."""

_NOT_KEPT = {
    "factored": "it differs from unit to unit, which leaves the kernel for one that moves",
    "elementwise": "it differs from unit to unit, which no kernel describes",
}


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
) -> KernelTransformation:
    """Rescales a functional gradient by ADAM*: m̂ / (√v̂ + ε), in coefficients.

    Args:
      b1: Decay of the running mean of the gradient.
      b2: Decay of the running mean of the squared gradient.
      eps: Added to the root of the second moment.
      second_moment: `per_output`: one v for each output; `global`: one for all of them; `error`:
        for each output the sum of δ² over the examples of the batch, where one that stands in it
        twice has the sum of both.

    Returns:
      A transformation whose state is a `ScaleByAdamStarState`.

    Raises:
      ValueError: `second_moment` is unknown, or leaves the kernel.

    Example:
      >>> import jax.numpy as jnp
      >>> from infwidth import infinite
      >>> infinite.scale_by_adam_star().init(jnp.zeros((100, 8))).nu.shape
      (8,)

    Reference:
      Sernau, arXiv 2406.18800, as reconstructed in docs/theory.md, equation (9); `global` and
      `error` are rows A and C of the table in its section 7.
    """
    _check_second_moment(second_moment)

    def init(c_NxE: jax.Array) -> ScaleByAdamStarState:
        return ScaleByAdamStarState(
            jnp.zeros([], jnp.int32), jnp.zeros_like(c_NxE), _first_moment(second_moment, c_NxE)
        )

    def update(
        updates: Updates, state: ScaleByAdamStarState, c_NxE: jax.Array | None = None
    ) -> tuple[jax.Array, ScaleByAdamStarState]:
        del c_NxE
        gradient = of_batch(updates, "scale_by_adam_star")
        count = state.count + 1
        mu_NxE = _running_mean(over_data(gradient, state.mu_NxE), state.mu_NxE, b1)
        nu = _running_mean(_observe(second_moment, gradient), state.nu, b2)
        root = jnp.sqrt(_unbiased(nu, b2, count)) + _as(eps, nu)
        root_1xE = jnp.broadcast_to(root, mu_NxE.shape[1:])[None, :]
        return _unbiased(mu_NxE, b1, count) / root_1xE, ScaleByAdamStarState(count, mu_NxE, nu)

    return KernelTransformation(init, update)


class ScaleByRmsStarState(NamedTuple):
    """State of RMSprop*: E numbers."""

    nu: jax.Array
    """Running mean of the shared square: shape (E,), or a scalar."""


def scale_by_rms_star(
    decay: Number = 0.9, eps: Number = 1e-8, second_moment: SecondMoment = "per_output"
) -> KernelTransformation:
    """Rescales a functional gradient by 1 / (√v + ε), with v as in ADAM* but from 0, uncorrected.

    Args:
      decay: Decay of the running mean of the squared gradient.
      eps: Added to the root of the second moment.
      second_moment: as in `scale_by_adam_star`.

    Returns:
      A transformation whose state is a `ScaleByRmsStarState`; what it returns is still the gradient
      of a batch.

    Raises:
      ValueError: `second_moment` is unknown, or leaves the kernel.
    """
    _check_second_moment(second_moment)

    def init(c_NxE: jax.Array) -> ScaleByRmsStarState:
        return ScaleByRmsStarState(_first_moment(second_moment, c_NxE))

    def update(
        updates: Updates, state: ScaleByRmsStarState, c_NxE: jax.Array | None = None
    ) -> tuple[Updates, ScaleByRmsStarState]:
        del c_NxE
        gradient = of_batch(updates, "scale_by_rms_star")
        nu = _running_mean(_observe(second_moment, gradient), state.nu, decay)
        return gradient.scaled(1 / (jnp.sqrt(nu) + _as(eps, nu))), ScaleByRmsStarState(nu)

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
        kept = _as(decay, trace_NxE)
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

    Reference:
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
        bound = _as(max_norm, norm)
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
            return updates.scaled(-_as(rate, like) * _value(schedule, count, like)), count + 1
        return -_as(rate, updates) * _value(schedule, count, updates) * updates, count + 1

    return KernelTransformation(lambda _: jnp.zeros([], jnp.int32), update)


def decay_weights(weight_decay: Number, schedule: Schedule | None = None) -> KernelTransformation:
    """Decoupled weight decay by the schedule: multiplies M, and so c, by d_t = 1 − s_t λ.

    Its place is after the learning rate, by which it is not multiplied.

    Args:
      weight_decay: λ.
      schedule: s_t in [0, 1]; None is 1.

    Returns:
      A transformation whose state is the number of steps taken.

    Reference:
      docs/theory.md, equation (14).
    """

    def update(
        updates: Updates, count: jax.Array, c_NxE: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        if c_NxE is None:
            raise ValueError("decay_weights needs the coefficients: update(updates, state, c)")
        share = _as(weight_decay, c_NxE) * _value(schedule, count, c_NxE)
        return over_data(updates, c_NxE) - share * c_NxE, count + 1

    return KernelTransformation(lambda _: jnp.zeros([], jnp.int32), update)


def _check_second_moment(name: str) -> None:
    if name in _NOT_KEPT:
        raise ValueError(f"second_moment {name!r} has no kernel form: {_NOT_KEPT[name]}")
    if name not in get_args(SecondMoment):
        known = ", ".join(get_args(SecondMoment))
        raise ValueError(f"second_moment must be one of {known}, not {name!r}")


def _first_moment(second_moment: SecondMoment, c_NxE: jax.Array) -> jax.Array:
    return jnp.zeros(() if second_moment == "global" else c_NxE.shape[1:], c_NxE.dtype)


def _observe(second_moment: SecondMoment, gradient: FunctionalGradient) -> jax.Array:
    """What of a gradient the second moment is the running mean of."""
    if second_moment == "error":
        return gradient.squared_error()
    square_E = gradient.mean_square()
    return jnp.mean(square_E) if second_moment == "global" else square_E


def _running_mean(fresh: jax.Array, kept: jax.Array, decay: Number) -> jax.Array:
    weight = _as(decay, kept)
    return (1 - weight) * fresh.astype(kept.dtype) + weight * kept


def _unbiased(moment: jax.Array, decay: Number, count: jax.Array) -> jax.Array:
    return moment / (1 - _as(decay, moment) ** count.astype(moment.dtype))


def _as(value: Number, like: jax.Array) -> jax.Array:
    return jnp.asarray(value, like.dtype)


def _value(schedule: Schedule | None, count: jax.Array, like: jax.Array) -> jax.Array:
    return _as(1 if schedule is None else schedule(count), like)
