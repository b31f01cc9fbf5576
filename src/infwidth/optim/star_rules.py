# SPDX-License-Identifier: Apache-2.0
"""Other optimizers that keep the kernel: SGD, NAdam*, RMSprop*, Adagrad*, Muon*.

Each starred one is its namesake with a second moment that is shared along the axis that may become
infinite, as in ADAM*; Muon* has none, and multiplies the momentum by an E×E matrix. A step of any
of them is a combination of the features of the inputs seen (docs/theory.md, section 13). Ours, not
the paper's.

Gradients are taken as they come: chain `scale_by_width` before, where the model divides by its
width. Arguments that optax has, too, have its order and meaning.

Shapes, for a leaf of shape (H, E) with width axis 0: H units, E everything else.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec as P

from infwidth.optim.adam_star import Mask, adam_star, with_rate_and_decay
from infwidth.optim.axes import LeafAxes, WidthAxis, leaf_axes
from infwidth.optim.moments import (
    SecondMoment,
    check_second_moment,
    divided,
    inverse_root,
    number,
    power_of_two,
    product,
    running_mean,
    squares,
    unbiased,
    zero_squares,
)


def sgd(
    learning_rate: optax.ScalarOrSchedule,
    momentum: jax.typing.ArrayLike | None = None,
    nesterov: bool = False,
    *,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Mask = None,
) -> optax.GradientTransformationExtraArgs:
    """SGD, with momentum if given: `optax.sgd` with `weight_decay` and `mask` as in `adam_star`.

    Args:
      learning_rate: η, a number or a schedule.
      momentum: Decay of the sum of gradients; None is none.
      nesterov: Whether the momentum looks one step ahead.

    Returns:
      The transformation, to be used with `optax.apply_updates`.

    References:
      docs/theory.md, equation (7).
    """
    rule = optax.identity() if momentum is None else optax.trace(momentum, nesterov)
    return with_rate_and_decay(rule, learning_rate, weight_decay, mask)


def nadam_star(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    mu_dtype: jax.typing.DTypeLike | None = None,
    *,
    nesterov: bool = True,
    bias_correction: bool = True,
    second_moment: SecondMoment = "per_output",
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Mask = None,
    width_axis: WidthAxis = None,
) -> optax.GradientTransformationExtraArgs:
    """NAdam*: `adam_star` with Nesterov's look ahead, as `optax.nadam` is of `optax.adam`.

    Arguments, result and errors are those of `adam_star`; `nesterov` is True. The first step has
    rms (1 + 2β1) / (1 + β1) over the units of each output, 1.47 at β1 = 0.9.

    References:
      Dozat, Incorporating Nesterov momentum into Adam, ICLR workshop 2016; docs/theory.md,
      equation (25).
    """
    return adam_star(
        learning_rate,
        b1,
        b2,
        eps,
        eps_root,
        mu_dtype,
        nesterov=nesterov,
        bias_correction=bias_correction,
        second_moment=second_moment,
        weight_decay=weight_decay,
        mask=mask,
        width_axis=width_axis,
    )


class ScaleByRmsStarState(NamedTuple):
    """State of RMSprop*."""

    count: jax.Array  # type: ignore[assignment]  # the name optax knows it by
    """Steps taken, int32."""
    nu: Any
    """Running mean of the shared square, as in `ScaleByAdamStarState`."""


def scale_by_rms_star(
    decay: jax.typing.ArrayLike = 0.9,
    eps: jax.typing.ArrayLike = 1e-8,
    *,
    bias_correction: bool = False,
    second_moment: SecondMoment = "per_output",
    width_axis: WidthAxis = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescales updates by RMSprop*: G / (√v + ε), v shared along the width axis.

    .. math::
      v_t = \beta_2 v_{t-1} + (1 - \beta_2) \, \mathrm{mean}_h \, |G_t|^2, \quad
      u_t = \frac{G_t}{\sqrt{v_t} + \epsilon} .

    At H = 1 this is `optax.scale_by_rms` with `eps_in_sqrt=False`. Other arguments and errors are
    those of `scale_by_adam_star`.

    Args:
      decay: β2, decay of the running mean of the squared gradient.
      bias_correction: Whether v is divided by the sum of its weights, 1 − β2^t. The first step then
        has rms 1 over the units of each output, and 1 / √(1 − β2) without.

    Returns:
      A transformation whose state is a `ScaleByRmsStarState`.

    Examples:
      >>> import jax.numpy as jnp
      >>> from infwidth.optim import scale_by_rms_star
      >>> rule = scale_by_rms_star(bias_correction=True)
      >>> updates, _ = rule.update(jnp.full((4, 2), 3.0), rule.init(jnp.zeros((4, 2))))
      >>> print(updates[0].round(3))
      [1. 1.]

    References:
      docs/theory.md, equation (23).
    """
    check_second_moment(second_moment)

    def init(params: Any) -> ScaleByRmsStarState:
        nu = zero_squares(second_moment, params, width_axis)
        return ScaleByRmsStarState(jnp.zeros([], jnp.int32), nu)

    def update(
        updates: Any,
        state: ScaleByRmsStarState,
        params: Any = None,
        *,
        squared_errors: Any = None,
        **extra: Any,
    ) -> tuple[Any, ScaleByRmsStarState]:
        del params, extra
        count = optax.safe_increment(state.count)
        square = squares(second_moment, updates, width_axis, state.nu, squared_errors)
        nu = running_mean(square, state.nu, decay)
        v = unbiased(nu, decay, count) if bias_correction else nu
        directions = optax.tree.cast_like(divided(updates, v, eps, width_axis), updates)
        return directions, ScaleByRmsStarState(count, optax.tree.cast_like(nu, state.nu))

    return optax.GradientTransformationExtraArgs(init, update)


def rmsprop_star(
    learning_rate: optax.ScalarOrSchedule,
    decay: jax.typing.ArrayLike = 0.9,
    eps: jax.typing.ArrayLike = 1e-8,
    *,
    momentum: jax.typing.ArrayLike | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
    second_moment: SecondMoment = "per_output",
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Mask = None,
    width_axis: WidthAxis = None,
) -> optax.GradientTransformationExtraArgs:
    """RMSprop*: each gradient by its own shared size, then momentum if given.

    At H = 1 this is `optax.rmsprop` with `eps_in_sqrt=False`. Other arguments, result and errors
    are those of `scale_by_rms_star` and of `adam_star`; weight decay has no part in momentum.

    Args:
      momentum: Applied after the rate, as in `optax.rmsprop`; None is none.
      nesterov: Whether the momentum looks one step ahead.
    """
    rule = scale_by_rms_star(
        decay,
        eps,
        bias_correction=bias_correction,
        second_moment=second_moment,
        width_axis=width_axis,
    )
    after = None if momentum is None else optax.trace(momentum, nesterov)
    return with_rate_and_decay(rule, learning_rate, weight_decay, mask, after)


class ScaleByAdagradStarState(NamedTuple):
    """State of Adagrad*."""

    sum_of_squares: Any
    """Sum of the shared square over all steps, shaped as `nu` of `ScaleByAdamStarState`."""


def scale_by_adagrad_star(
    initial_accumulator_value: jax.typing.ArrayLike = 0.0,
    eps: jax.typing.ArrayLike = 1e-8,
    *,
    second_moment: SecondMoment = "per_output",
    width_axis: WidthAxis = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescales updates by Adagrad*: G / (√v + ε), v a sum shared along the width axis.

    .. math::
      v_t = v_{t-1} + \mathrm{mean}_h \, |G_t|^2, \quad u_t = \frac{G_t}{\sqrt{v_t} + \epsilon} .

    From a sum of 0 the first step has rms 1 over the units of each output. At H = 1 and ε = 0 this
    is `optax.scale_by_rss`; that has its ε under the root. Other arguments and errors are those of
    `scale_by_adam_star`.

    Args:
      initial_accumulator_value: What the sum starts from; optax has 0.1.
      eps: Added to the root of the sum.

    Returns:
      A transformation whose state is a `ScaleByAdagradStarState`.

    References:
      docs/theory.md, equation (24).
    """
    check_second_moment(second_moment)

    def init(params: Any) -> ScaleByAdagradStarState:
        zeros = zero_squares(second_moment, params, width_axis)
        start = jax.tree.map(lambda v: v + number(initial_accumulator_value, v.dtype), zeros)
        return ScaleByAdagradStarState(start)

    def update(
        updates: Any,
        state: ScaleByAdagradStarState,
        params: Any = None,
        *,
        squared_errors: Any = None,
        **extra: Any,
    ) -> tuple[Any, ScaleByAdagradStarState]:
        del params, extra
        kept = state.sum_of_squares
        square = squares(second_moment, updates, width_axis, kept, squared_errors)
        total = jax.tree.map(lambda fresh, v: fresh + v.astype(fresh.dtype), square, kept)
        directions = optax.tree.cast_like(divided(updates, total, eps, width_axis), updates)
        return directions, ScaleByAdagradStarState(optax.tree.cast_like(total, kept))

    return optax.GradientTransformationExtraArgs(init, update)


def adagrad_star(
    learning_rate: optax.ScalarOrSchedule,
    initial_accumulator_value: jax.typing.ArrayLike = 0.0,
    eps: jax.typing.ArrayLike = 1e-8,
    *,
    second_moment: SecondMoment = "per_output",
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Mask = None,
    width_axis: WidthAxis = None,
) -> optax.GradientTransformationExtraArgs:
    """Adagrad*: each gradient by the root of the sum of all shared squares.

    Arguments, result and errors are those of `scale_by_adagrad_star` and of `adam_star`.
    """
    rule = scale_by_adagrad_star(
        initial_accumulator_value, eps, second_moment=second_moment, width_axis=width_axis
    )
    return with_rate_and_decay(rule, learning_rate, weight_decay, mask)


class ScaleByMuonStarState(NamedTuple):
    """State of Muon*."""

    mu: Any
    """Running mean of the gradient, shaped as the parameters."""


def scale_by_muon_star(
    b1: jax.typing.ArrayLike = 0.9,
    eps: jax.typing.ArrayLike = 1e-4,
    *,
    mu_dtype: jax.typing.DTypeLike | None = None,
    width_axis: WidthAxis = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Replaces the momentum by its orthogonal factor, Muon on M: m (mᵀm/H)^{-1/2}.

    With m the running mean of G and the E×E matrix S = mᵀm/H,

    .. math::
      u_t = m_t \left( S + \epsilon \, \tfrac{\mathrm{tr} S}{E} \, I \right)^{-1/2} .

    It multiplies the singular values σ of m/√H by 1/√(σ² + ε mean(σ²)): those above √ε of their
    own root mean square become 1, those far below it stay small. ε has no unit, so that u does not
    change with the size of the gradient, and no bias correction is needed. Where S has rank r the
    step has rms √(r/E) over all entries, up to ε. The root is taken by an eigendecomposition, and
    not by Newton–Schulz, in float32 at least; the default of ε is above what float32 leaves of the
    small eigenvalues of S for E up to a thousand.

    Args:
      b1: Decay of the running mean of the gradient.
      eps: Share of the mean eigenvalue of S that is added to each.
      mu_dtype: Type of m; None is that of the parameters.
      width_axis: The axis of size H, as in `scale_by_adam_star`. All other axes of a leaf together
        are its E outputs, but for the layers' of a `Stacked`.

    Returns:
      A transformation whose state is a `ScaleByMuonStarState`. A step costs O(H E² + E³).

    Raises:
      ValueError: At init and update, `width_axis` does not fit.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from infwidth.optim import scale_by_muon_star
      >>> g_HxE = jax.random.normal(jax.random.key(0), (64, 2)) * jnp.array([[1.0, 100.0]])
      >>> rule = scale_by_muon_star(eps=1e-7)
      >>> u_HxE, _ = rule.update(g_HxE, rule.init(g_HxE))
      >>> bool(abs(u_HxE.T @ u_HxE / 64 - jnp.eye(2)).max() < 1e-2)
      True

    References:
      Jordan et al., Muon, 2024, https://kellerjordan.github.io/posts/muon/; docs/theory.md,
      equations (12) and (26).
    """

    def init(params: Any) -> ScaleByMuonStarState:
        leaf_axes(width_axis, params)
        return ScaleByMuonStarState(optax.tree.zeros_like(params, dtype=mu_dtype))

    def update(
        updates: Any, state: ScaleByMuonStarState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByMuonStarState]:
        del params, extra
        mu = running_mean(updates, state.mu, b1)

        def direction(m: jax.Array, axes: LeafAxes) -> jax.Array:
            spec = jax.typeof(m).sharding.spec
            # No decomposition is made of a matrix that is sharded.
            sharded = any(axis is not None for axis in spec)
            order = (*axes.layers, axes.width, *axes.outputs)
            ordered = jnp.transpose(jax.sharding.reshard(m, P()) if sharded else m, order)
            of_matrix = partial(_orthogonal, eps=eps)
            for _ in axes.layers:
                of_matrix = jax.vmap(of_matrix)
            u = of_matrix(ordered.reshape(*ordered.shape[: len(axes.layers) + 1], -1))
            u = jnp.transpose(u.reshape(ordered.shape), np.argsort(order).tolist())
            return jax.sharding.reshard(u, spec) if sharded else u

        directions = jax.tree.map(direction, mu, leaf_axes(width_axis, updates))
        kept = optax.tree.cast_like(mu, state.mu)
        return optax.tree.cast_like(directions, updates), ScaleByMuonStarState(kept)

    return optax.GradientTransformationExtraArgs(init, update)


def muon_star(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    eps: jax.typing.ArrayLike = 1e-4,
    *,
    mu_dtype: jax.typing.DTypeLike | None = None,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Mask = None,
    width_axis: WidthAxis = None,
) -> optax.GradientTransformationExtraArgs:
    """Muon on M: the momentum's orthogonal factor.

    Arguments, result and errors are those of `scale_by_muon_star` and of `adam_star`.
    """
    rule = scale_by_muon_star(b1, eps, mu_dtype=mu_dtype, width_axis=width_axis)
    return with_rate_and_decay(rule, learning_rate, weight_decay, mask)


def _orthogonal(m_HxE: jax.Array, eps: jax.typing.ArrayLike) -> jax.Array:
    """m (S + ε (tr S / E) I)^{-1/2}."""
    m_HxE = m_HxE * power_of_two(m_HxE)
    gram_ExE = product(m_HxE.conj().T, m_HxE) / m_HxE.shape[0]
    return product(m_HxE, inverse_root(gram_ExE, eps))
