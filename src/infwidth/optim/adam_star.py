# SPDX-License-Identifier: Apache-2.0
"""ADAM*: Adam whose second moment is averaged along the axis that may become infinite.

Elementwise Adam divides by a second moment that differs from unit to unit, and so leaves the span
of the features that training has seen: no kernel describes it. ADAM* shares the second moment
between the H units of a layer, which keeps the kernel (docs/theory.md, sections 5 and 6).

ADAM*'s exact formula is a reconstruction from what is known of its paper (arXiv 2406.18800).

Shapes, for a leaf of shape (H, E) with width axis 0: H units, E everything else.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax

from infwidth.optim.axes import WidthAxis, leaf_axes
from infwidth.optim.moments import number, running_mean, unbiased

SecondMoment = Literal["per_output", "global", "factored", "error"]
"""What the second moment depends on: the output; nothing; the output times the unit; the output's
errors alone."""


class FactoredMoment(NamedTuple):
    """The means of g² that a factored second moment is made of."""

    width_H: jax.Array
    """Mean over all axes but the width axis, shape (H,)."""
    output_E: jax.Array
    """Mean over the width axis, the leaf's shape without it."""


class ScaleByAdamStarState(NamedTuple):
    """State of ADAM*."""

    count: jax.Array  # type: ignore[assignment]  # the name optax knows it by
    """Steps taken, int32."""
    mu: Any
    """Running mean of the gradient, shaped as the parameters."""
    nu: Any
    """Running mean of the shared square: per leaf an (E,) array, a scalar, or a FactoredMoment."""


def scale_by_adam_star(
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    width_axis: WidthAxis = 0,
    second_moment: SecondMoment = "per_output",
) -> optax.GradientTransformationExtraArgs:
    r"""Rescales updates by ADAM*: m̂ / (√v̂ + ε) with v shared along the width axis.

    With G the gradient of a leaf of shape (H, E) and the mean taken over its H units,

    .. math::
      m_t = \beta_1 m_{t-1} + (1 - \beta_1) G_t, \quad
      v_t = \beta_2 v_{t-1} + (1 - \beta_2) \, \mathrm{mean}_h \, G_t^2, \quad
      u_t = \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon} .

    The gradient is taken as it comes: chain `scale_by_width` before, where the model divides by its
    width, or ε will bite at large widths. At H = 1 this is elementwise Adam.

    Args:
      b1: Decay of the running mean of the gradient.
      b2: Decay of the running mean of the squared gradient.
      eps: Added to the root of the second moment.
      width_axis: The axis that v is averaged over: an int, a pytree prefix of ints, or a callable
        from the parameters to either.
      second_moment: `per_output`: one v for each index of the remaining axes, whatever their
        number; a 1-D leaf is a readout of one output, and has one v. `global`: one v for the leaf.
        `factored`: v_he = r_h c_e / mean(r), with r and c the means of G² over all axes but the
        width axis and over the width axis; for a 1-D leaf that is elementwise Adam. `error`: the
        sum of squares of the errors δ = ∂L/∂f over the batch, in place of a mean of G²; `update`
        needs it as the extra argument `squared_errors`, per leaf Σ_i δ_ie² of shape (E,).

    Returns:
      A transformation whose state is a `ScaleByAdamStarState`. Moments have the dtype of the
      parameters; updates have that of the gradients.

    Raises:
      ValueError: `second_moment` is unknown; at init and update, `width_axis` does not fit; at
        update, `squared_errors` is needed and missing, or of another shape.

    Examples:
      >>> import jax.numpy as jnp
      >>> from infwidth.optim import scale_by_adam_star
      >>> readout_HxE = jnp.zeros((1024, 8))
      >>> scale_by_adam_star().init(readout_HxE).nu.shape
      (8,)

    References:
      Sernau, arXiv 2406.18800, as reconstructed in docs/theory.md, equation (8); `global`,
      `error` and `factored` are rows A, C and D of the table in its section 7.
    """
    if second_moment not in get_args(SecondMoment):
        known = ", ".join(get_args(SecondMoment))
        raise ValueError(f"second_moment must be one of {known}, not {second_moment!r}")
    # Errors have one square for each output, as gradients have per output.
    shared: SecondMoment = "per_output" if second_moment == "error" else second_moment
    observe = functools.partial(_observe, shared)

    def init(params: Any) -> ScaleByAdamStarState:
        def zeros(leaf: jax.Array, axis: int) -> Any:
            shapes = jax.eval_shape(functools.partial(observe, axis=axis), leaf)
            return jax.tree.map(lambda moment: jnp.zeros(moment.shape, moment.dtype), shapes)

        return ScaleByAdamStarState(
            count=jnp.zeros([], jnp.int32),
            mu=jax.tree.map(jnp.zeros_like, params),
            nu=jax.tree.map(zeros, params, leaf_axes(width_axis, params)),
        )

    def update(
        updates: Any,
        state: ScaleByAdamStarState,
        params: Any = None,
        *,
        squared_errors: Any = None,
        **extra: Any,
    ) -> tuple[Any, ScaleByAdamStarState]:
        del params, extra
        count = optax.safe_increment(state.count)

        def direction(m: jax.Array, v: Any, axis: int) -> jax.Array:
            m_hat, v_hat = unbiased(m, b1, count), unbiased(v, b2, count)
            return m_hat / (jnp.sqrt(_spread(v_hat, axis, m.ndim)) + number(eps, m.dtype))

        axes = leaf_axes(width_axis, updates)
        mu = jax.tree.map(lambda g, m: running_mean(g, m, b1), updates, state.mu)
        if second_moment == "error":
            squares = _as_moments(squared_errors, state.nu)
        else:
            squares = jax.tree.map(observe, updates, axes)
        nu = running_mean(squares, state.nu, b2)
        new_state = ScaleByAdamStarState(
            count, optax.tree.cast_like(mu, state.mu), optax.tree.cast_like(nu, state.nu)
        )
        return jax.tree.map(direction, mu, nu, axes), new_state

    return optax.GradientTransformationExtraArgs(init, update)


def adam_star(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    *,
    width_axis: WidthAxis = 0,
    second_moment: SecondMoment = "per_output",
    weight_decay: jax.typing.ArrayLike = 0.0,
    mask: Any | Callable[[Any], Any] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """ADAM*, an Adam for layers of any width, infinite ones included.

    The update is −η (m̂ / (√v̂ + ε) + λ M), with m̂ and v̂ as in `scale_by_adam_star`.

    Args:
      learning_rate: η, a number or a schedule.
      b1: Decay of the running mean of the gradient.
      b2: Decay of the running mean of the squared gradient.
      eps: Added to the root of the second moment.
      width_axis: The axis that v is averaged over: an int, a pytree prefix of ints, or a callable
        from the parameters to either. Under `optax.inject_hyperparams` name it in `static_args`.
      second_moment: `per_output`, `global`, `factored` or `error`; see `scale_by_adam_star`.
      weight_decay: λ, decoupled as in AdamW and multiplied by the learning rate. Unless it is the
        number 0, `update` needs the parameters.
      mask: Which leaves decay: a pytree prefix of booleans, or a callable from the parameters.

    Returns:
      The transformation, to be used with `optax.apply_updates`.

    Raises:
      ValueError: `second_moment` is unknown; `width_axis` does not fit the parameters; `update`
        got no parameters though weights decay.

    Examples:
      >>> import jax, jax.numpy as jnp, optax
      >>> from infwidth.optim import adam_star, scale_by_width
      >>> features_NxH = jax.random.normal(jax.random.key(0), (32, 256))
      >>> def loss(readout_HxE):
      ...   return jnp.mean(jnp.square(features_NxH @ readout_HxE / 256 - 1.0))
      >>> solver = optax.chain(scale_by_width(), adam_star(learning_rate=0.1))
      >>> readout_HxE = jnp.zeros((256, 2))
      >>> state = solver.init(readout_HxE)
      >>> for _ in range(100):
      ...   updates, state = solver.update(jax.grad(loss)(readout_HxE), state)
      ...   readout_HxE = optax.apply_updates(readout_HxE, updates)
      >>> bool(loss(readout_HxE) < 0.5)
      True

    References:
      Sernau, arXiv 2406.18800, as reconstructed in docs/theory.md, equation (8).
    """
    rule = scale_by_adam_star(b1, b2, eps, width_axis, second_moment)
    rate = optax.scale_by_learning_rate(learning_rate)
    # A number that is 0 asks for no decay; an injected one is an array, whose value is not known.
    if isinstance(weight_decay, int | float) and weight_decay == 0:
        return optax.chain(rule, rate)
    return optax.chain(rule, optax.add_decayed_weights(weight_decay, mask), rate)


def _observe(second_moment: SecondMoment, g: jax.Array, axis: int) -> Any:
    """What of a gradient the second moment is the running mean of."""
    square = jnp.square(g)
    if second_moment == "per_output":
        return jnp.mean(square, axis)
    if second_moment == "global":
        return jnp.mean(square)
    others = tuple(other for other in range(g.ndim) if other != axis)
    return FactoredMoment(jnp.mean(square, others), jnp.mean(square, axis))


def _as_moments(squared_errors: Any, nu: Any) -> Any:
    """The squared errors, where there is one for each moment."""
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (squared_errors, nu)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            'second_moment="error" needs update(..., squared_errors=Σ δ²), of the shapes '
            f"{shapes[1]}, not {shapes[0]}"
        )
    return squared_errors


def _spread(v: Any, axis: int, ndim: int) -> jax.Array:
    """The second moment, of a shape that broadcasts to a leaf of `ndim` axes."""
    if isinstance(v, FactoredMoment):
        mean = jnp.mean(v.width_H)
        # Where no gradient has been seen r is 0, and so is v.
        share_H = v.width_H / jnp.where(mean > 0, mean, jnp.ones_like(mean))
        shape = [1] * ndim
        shape[axis] = -1
        return share_H.reshape(shape) * jnp.expand_dims(v.output_E, axis)
    # A scalar, the global moment of a leaf or that of a single output, broadcasts by itself.
    return jnp.expand_dims(v, axis) if v.ndim else v
