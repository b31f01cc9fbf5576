# SPDX-License-Identifier: Apache-2.0
"""Any rule on features that are divided by a scale of their own, measured from gradients and held.

Adam on a readout divides the step of each unit by the root of its second moment, which a rule that
keeps a kernel cannot do. A scale for each feature that is measured once and then stands still can:
it is another set of features, with another kernel, exact and fixed (docs/theory.md, section 16).

Shapes, for a leaf of shape (H, E) with width axis 0: H units, E everything else.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from infwidth.optim.axes import LeafAxes, WidthAxis, leaf_axes
from infwidth.optim.moments import relative, squared


class OnMeasuredScalesState(NamedTuple):
    """State of a rule on measured scales."""

    count: jax.Array  # type: ignore[assignment]  # the name optax knows it by
    """Steps taken, int32."""
    mean_square: Any
    """r: per leaf the mean of G² over outputs and measured steps, (H,), float32 at least."""
    inner_state: Any
    """State of the rule."""


def on_measured_scales(
    inner: optax.GradientTransformation,
    *,
    hold_after: int | None,
    power: float = 0.25,
    floor: float = 1e-6,
    width_axis: WidthAxis = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Applies a rule to features that are divided by scales measured from their gradients.

    With G the functional gradient of a leaf of shape (H, E), r_h the mean of G_he² over the outputs
    e and the steps measured, and s_h = max(r_h / mean r, floor), unit h moves by

    .. math::
      u_h = s_h^{-p} \, \mathrm{inner}(s^{-p} G)_h

    which is `inner` on the features g_h s_h^{-p}. Once s is held that is a step in their kernel,
    E_h[s_h^{-2p} g_h(x) g_h(y)], if `inner` keeps kernels. A unit without a gradient while r was
    measured has the scale `floor`; if it wakes later, it moves floor^{-2p} times as far as a unit
    of mean r.

    Args:
      inner: The rule, such as `scale_by_adam_star()` or `optax.identity()` (SGD). Extra arguments
        of `update` are passed on to it.
      hold_after: How many steps r is measured for; then it is held, and the rule starts anew. 0
        measures nothing: put what was measured beforehand into `mean_square` of the state, where 0
        means no scales. None never stops measuring.
      power: p; 1/4 divides a step by √s in all, as Adam does.
      floor: The least scale.
      width_axis: The axis of size H, as in `scale_by_adam_star`.

    Returns:
      A transformation whose state is an `OnMeasuredScalesState`. Where `hold_after` is 1 or more,
      `update` needs the parameters.

    Raises:
      ValueError: `hold_after` is negative; at init and update, `width_axis` does not fit, or the
        parameters are missing.

    Examples:
      >>> import jax.numpy as jnp, optax
      >>> from infwidth.optim import on_measured_scales
      >>> rule = on_measured_scales(optax.identity(), hold_after=0)
      >>> state = rule.init(jnp.zeros((2, 1)))._replace(mean_square=jnp.array([0.4, 1.6]))
      >>> updates, _ = rule.update(jnp.ones((2, 1)), state)
      >>> [round(float(update), 3) for update in updates[:, 0]]
      [1.581, 0.791]

    References:
      docs/theory.md, equations (31) and (32).
    """
    if hold_after is not None and hold_after < 0:
        raise ValueError(f"hold_after must be 0 or more, or None, not {hold_after}")
    inner = optax.with_extra_args_support(inner)

    def init(params: Any) -> OnMeasuredScalesState:
        axes = leaf_axes(width_axis, params)
        return OnMeasuredScalesState(
            count=jnp.zeros([], jnp.int32),
            mean_square=jax.tree.map(
                lambda p, own: jnp.zeros_like(_unit_square(p, own)), params, axes
            ),
            inner_state=inner.init(params),
        )

    def update(
        updates: Any, state: OnMeasuredScalesState, params: Any = None, **extra: Any
    ) -> tuple[Any, OnMeasuredScalesState]:
        axes = leaf_axes(width_axis, updates)
        mean_square, inner_state = state.mean_square, state.inner_state

        def measured() -> Any:
            steps = optax.safe_increment(state.count)
            return jax.tree.map(
                lambda g, r, own: r + (_unit_square(g, own) - r) / steps.astype(r.dtype),
                updates,
                state.mean_square,
                axes,
            )

        if hold_after is None:
            mean_square = measured()
        elif hold_after > 0:
            if params is None:
                raise ValueError("update needs params, since the rule starts anew in training")
            mean_square = jax.lax.cond(
                state.count < hold_after, measured, lambda: state.mean_square
            )
            inner_state = jax.tree.map(
                lambda new, old: jnp.where(state.count == hold_after, new, old),
                inner.init(params),
                state.inner_state,
            )
        factors = jax.tree.map(
            lambda g, r, own: _factor(r, power, floor, own).astype(g.dtype),
            updates,
            mean_square,
            axes,
        )
        scaled = jax.tree.map(jnp.multiply, updates, factors)
        scaled, inner_state = inner.update(scaled, inner_state, params, **extra)
        new_state = OnMeasuredScalesState(
            optax.safe_increment(state.count), mean_square, inner_state
        )
        return jax.tree.map(jnp.multiply, scaled, factors), new_state

    return optax.GradientTransformationExtraArgs(init, update)


def _unit_square(g: jax.Array, axes: LeafAxes) -> jax.Array:
    """The mean of |g|² over the outputs, in float32 at least."""
    return jnp.mean(squared(g), axes.outputs)


def _factor(r_H: jax.Array, power: float, floor: float, axes: LeafAxes) -> jax.Array:
    """s^{-p}, of a shape that broadcasts to its leaf; 1 where nothing was measured."""
    s_H = jnp.maximum(relative(r_H, axes, unseen=1.0), floor)
    return jnp.expand_dims(s_H, axes.outputs) ** -power
