# SPDX-License-Identifier: Apache-2.0
"""ADAM*: Adam whose second moment is averaged along the axis that may become infinite.

Elementwise Adam divides by a second moment that differs from unit to unit, and so leaves the span
of the features that training has seen: no kernel describes it. ADAM* shares the second moment
between the H units of a layer, which keeps the kernel (docs/theory.md, sections 5 and 6).

ADAM*'s exact formula is a reconstruction from what is known of its paper (arXiv 2406.18800).

Shapes, for a leaf of shape (H, E) with width axis 0: H units, E everything else.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from infwidth.optim.axes import WidthAxis
from infwidth.optim.moments import (
    SecondMoment,
    check_second_moment,
    divided,
    running_mean,
    squares,
    unbiased,
    zero_squares,
)

Mask = Any | Callable[[Any], Any] | None
"""Which leaves decay: a pytree prefix of booleans, or a function of the parameters; None is all."""


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
    eps_root: jax.typing.ArrayLike = 0.0,
    mu_dtype: jax.typing.DTypeLike | None = None,
    *,
    nesterov: bool = False,
    bias_correction: bool = True,
    second_moment: SecondMoment = "per_output",
    width_axis: WidthAxis = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescales updates by ADAM*: m̂ / (√v̂ + ε) with v shared along the width axis.

    With G the gradient of a leaf of shape (H, E) and the mean taken over its H units,

    .. math::
      m_t = \beta_1 m_{t-1} + (1 - \beta_1) G_t, \quad
      v_t = \beta_2 v_{t-1} + (1 - \beta_2) \, \mathrm{mean}_h \, |G_t|^2, \quad
      u_t = \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon} .

    Chain `scale_by_width` before, where the model divides by its width, or ε will bite at large
    widths. At H = 1 this is elementwise Adam. In float32 the square of a gradient above 1e19
    overflows, and its output's steps are 0 from then on: where that may happen chain
    `clip_by_functional_norm` before. A gradient below 1e-23 counts as 0.

    Args:
      b1: Decay of the running mean of the gradient.
      b2: Decay of the running mean of the squared gradient.
      eps: Added to the root of the second moment.
      eps_root: Added under the root. Gradients through a step are finite without it.
      mu_dtype: Type of m; None is that of the parameters.
      nesterov: Whether the numerator looks one step ahead (NAdam*):
        β1 m_t / (1 − β1^{t+1}) + (1 − β1) G_t / (1 − β1^t).
      bias_correction: Whether m and v are divided by the sums of their weights. Without it the
        first step has rms (1 − β1) / √(1 − β2) in place of 1.
      second_moment: `per_output`: one v for each index of the other axes; of a 1-D leaf, a readout
        of one output, one v. `global`: one v for the leaf. `factored`: v_he = r_h c_e / mean(r),
        with r and c the means of |G|² over the outputs and over the width axis; for a 1-D leaf
        that is elementwise Adam. `error`: the sum of squares of the errors δ = ∂L/∂f of the batch,
        in place of a mean of |G|²; `update` needs it as the extra argument `squared_errors`, per
        leaf Σ_i δ_ie² of shape (E,).
      width_axis: The axis that v is averaged over: None (the first), an int, a `Stacked` where
        several layers lie in a leaf, a pytree prefix of these, or a function from the parameters
        to any of them. Under `optax.inject_hyperparams` an int has to be named in `static_args`.

    Returns:
      A transformation whose state is a `ScaleByAdamStarState`, v in float32 at least; updates have
      the type of the gradients.

    Raises:
      ValueError: `second_moment` is unknown; at init and update, `width_axis` does not fit; at
        update, `squared_errors` is missing, or of another shape.

    Examples:
      >>> import jax.numpy as jnp
      >>> from infwidth.optim import scale_by_adam_star
      >>> readout_HxE = jnp.zeros((1024, 8))
      >>> scale_by_adam_star().init(readout_HxE).nu.shape
      (8,)

    References:
      Sernau, arXiv 2406.18800, as reconstructed in docs/theory.md, equation (8); `global`,
      `error` and `factored` are rows A, C and D of the table in its section 7. NAdam*: Dozat,
      Incorporating Nesterov momentum into Adam, ICLR workshop 2016; equation (25).
    """
    check_second_moment(second_moment)

    def init(params: Any) -> ScaleByAdamStarState:
        return ScaleByAdamStarState(
            count=jnp.zeros([], jnp.int32),
            mu=optax.tree.zeros_like(params, dtype=mu_dtype),
            nu=zero_squares(second_moment, params, width_axis),
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
        mu = running_mean(updates, state.mu, b1)
        square = squares(second_moment, updates, width_axis, state.nu, squared_errors)
        nu = running_mean(square, state.nu, b2)
        m, v = mu, nu
        if nesterov:
            g = updates
            if bias_correction:
                m = unbiased(mu, b1, optax.safe_increment(count))
                g, v = unbiased(updates, b1, count), unbiased(nu, b2, count)
            m = running_mean(g, m, b1)
        elif bias_correction:
            # Leaf by leaf: XLA rounds a division otherwise where leaves share the divisor, and
            # published runs are to be had again to the bit.
            m = jax.tree.map(lambda leaf: unbiased(leaf, b1, count), mu)
            v = jax.tree.map(lambda _, leaf: unbiased(leaf, b2, count), mu, nu)
        directions = divided(m, v, eps, width_axis, eps_root)
        new_state = ScaleByAdamStarState(
            count, optax.tree.cast_like(mu, state.mu), optax.tree.cast_like(nu, state.nu)
        )
        return optax.tree.cast_like(directions, updates), new_state

    return optax.GradientTransformationExtraArgs(init, update)


def adam_star(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    mu_dtype: jax.typing.DTypeLike | None = None,
    *,
    nesterov: bool = False,
    bias_correction: bool = True,
    second_moment: SecondMoment = "per_output",
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Mask = None,
    width_axis: WidthAxis = None,
) -> optax.GradientTransformationExtraArgs:
    """ADAM*, an Adam for layers of any width, infinite ones included.

    The update is −η (m̂ / (√v̂ + ε) + λ M), with m̂ and v̂ as in `scale_by_adam_star`, whose
    arguments all others are.

    Args:
      learning_rate: η, a number or a schedule.
      weight_decay: λ, decoupled as in AdamW and multiplied by the learning rate. Unless it is the
        number 0, `update` needs the parameters.
      mask: Which leaves decay: a pytree prefix of booleans, or a function of the parameters.

    Returns:
      The transformation, to be used with `optax.apply_updates`.

    Raises:
      ValueError: As `scale_by_adam_star`; or `update` got no parameters though weights decay.

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
    rule = scale_by_adam_star(
        b1,
        b2,
        eps,
        eps_root,
        mu_dtype,
        nesterov=nesterov,
        bias_correction=bias_correction,
        second_moment=second_moment,
        width_axis=width_axis,
    )
    return with_rate_and_decay(rule, learning_rate, weight_decay, mask)


def with_rate_and_decay(
    rule: optax.GradientTransformation,
    learning_rate: optax.ScalarOrSchedule,
    weight_decay: optax.ScalarOrSchedule,
    mask: Mask,
    after_rate: optax.GradientTransformation | None = None,
) -> optax.GradientTransformationExtraArgs:
    """−η (u + λ M), with u what the rule makes of a gradient; −ηu may go through momentum."""
    rate = optax.scale_by_learning_rate(learning_rate)
    moved = optax.chain(rule, rate) if after_rate is None else optax.chain(rule, rate, after_rate)
    # A number that is 0 asks for no decay; an injected one is an array, whose value is not known.
    if isinstance(weight_decay, int | float) and weight_decay == 0:
        return moved
    if after_rate is None:
        return optax.chain(rule, optax.add_decayed_weights(weight_decay, mask), rate)

    def share(count: jax.Array) -> jax.Array:
        factors = (
            value(count) if callable(value) else value for value in (learning_rate, weight_decay)
        )
        return -jnp.asarray(math.prod(factors))

    return optax.chain(moved, optax.add_decayed_weights(share, mask))
