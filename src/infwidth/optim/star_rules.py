# SPDX-License-Identifier: Apache-2.0
"""Other optimizers that keep the kernel: RMSprop*, Adagrad*, NAdam*, Muon*, ADAM* uncorrected.

Each is its namesake with one second moment for each output, shared along the axis that may become
infinite, as in ADAM*; Muon* has none, and multiplies the momentum by an E×E matrix. A step of any
of them is a combination of the features of the inputs seen (docs/theory.md, section 13). Ours, not
the paper's.

Gradients are taken as they come: chain `scale_by_width` before, where the model divides by its
width. Moments have the type of the parameters, updates that of the gradients.

Shapes, for a leaf of shape (H, E) with width axis 0: H units, E everything else.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from infwidth.optim.adam_star import ScaleByAdamStarState
from infwidth.optim.axes import WidthAxis, leaf_axes
from infwidth.optim.inverse_root import inverse_root
from infwidth.optim.moments import mean_square, number, running_mean, unbiased, zero_mean_square


class ScaleByRmsStarState(NamedTuple):
    """State of RMSprop*."""

    count: jax.Array  # type: ignore[assignment]  # the name optax knows it by
    """Steps taken, int32."""
    nu: Any
    """Running mean of the shared square, per leaf an (E,) array."""


def scale_by_rms_star(
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    width_axis: WidthAxis = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescales updates by RMSprop*: G / (√v̂ + ε), v shared along the width axis.

    .. math::
      v_t = \beta_2 v_{t-1} + (1 - \beta_2) \, \mathrm{mean}_h \, G_t^2, \quad
      u_t = \frac{G_t}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon} .

    The first step has rms 1 over the units of each output. At H = 1 this is `optax.scale_by_rms`
    with `bias_correction=True` and `eps_in_sqrt=False`.

    Args:
      b2: Decay of the running mean of the squared gradient.
      eps: Added to the root of the second moment.
      width_axis: The axis that v is averaged over: an int, a pytree prefix of ints, or a callable
        from the parameters to either.

    Returns:
      A transformation whose state is a `ScaleByRmsStarState`.

    Raises:
      ValueError: At init and update, `width_axis` does not fit.

    Examples:
      >>> import jax.numpy as jnp
      >>> from infwidth.optim import scale_by_rms_star
      >>> rule = scale_by_rms_star()
      >>> updates, _ = rule.update(jnp.full((4, 2), 3.0), rule.init(jnp.zeros((4, 2))))
      >>> print(updates[0].round(3))
      [1. 1.]

    References:
      docs/theory.md, equation (23).
    """

    def init(params: Any) -> ScaleByRmsStarState:
        return ScaleByRmsStarState(jnp.zeros([], jnp.int32), zero_mean_square(params, width_axis))

    def update(
        updates: Any, state: ScaleByRmsStarState, params: Any = None
    ) -> tuple[Any, ScaleByRmsStarState]:
        del params
        count = optax.safe_increment(state.count)
        nu = running_mean(mean_square(updates, width_axis), state.nu, b2)
        directions = _divided(updates, unbiased(nu, b2, count), eps, width_axis)
        return directions, ScaleByRmsStarState(count, optax.tree.cast_like(nu, state.nu))

    return optax.with_extra_args_support(optax.GradientTransformation(init, update))


class ScaleByAdagradStarState(NamedTuple):
    """State of Adagrad*."""

    sum_of_squares: Any
    """Sum of the shared square over all steps, per leaf an (E,) array."""


def scale_by_adagrad_star(
    eps: jax.typing.ArrayLike = 1e-8, width_axis: WidthAxis = 0
) -> optax.GradientTransformationExtraArgs:
    r"""Rescales updates by Adagrad*: G / (√v + ε), v a sum shared along the width axis.

    .. math::
      v_t = v_{t-1} + \mathrm{mean}_h \, G_t^2, \quad u_t = \frac{G_t}{\sqrt{v_t} + \epsilon} .

    The sum starts at 0, so that the first step has rms 1 over the units of each output. At H = 1
    and ε = 0 this is `optax.scale_by_rss` from 0; that has its ε under the root.

    Args:
      eps: Added to the root of the sum.
      width_axis: As in `scale_by_rms_star`.

    Returns:
      A transformation whose state is a `ScaleByAdagradStarState`.

    Raises:
      ValueError: At init and update, `width_axis` does not fit.

    References:
      docs/theory.md, equation (24).
    """

    def init(params: Any) -> ScaleByAdagradStarState:
        return ScaleByAdagradStarState(zero_mean_square(params, width_axis))

    def update(
        updates: Any, state: ScaleByAdagradStarState, params: Any = None
    ) -> tuple[Any, ScaleByAdagradStarState]:
        del params
        total = jax.tree.map(
            lambda fresh, kept: fresh + kept.astype(fresh.dtype),
            mean_square(updates, width_axis),
            state.sum_of_squares,
        )
        directions = _divided(updates, total, eps, width_axis)
        kept = optax.tree.cast_like(total, state.sum_of_squares)
        return directions, ScaleByAdagradStarState(kept)

    return optax.with_extra_args_support(optax.GradientTransformation(init, update))


def scale_by_nadam_star(
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    width_axis: WidthAxis = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescales updates by NAdam*, ADAM* with Nesterov's look ahead, v per output.

    With m and v̂ of ADAM*,

    .. math::
      u_t = \frac{\beta_1 m_t / (1 - \beta_1^{t+1}) + (1 - \beta_1) G_t / (1 - \beta_1^t)}
                 {\sqrt{\hat v_t} + \epsilon} .

    Its first step has rms (1 + 2β1) / (1 + β1) over the units of each output, 1.47 at β1 = 0.9.
    At H = 1 this is `optax.scale_by_adam` with `nesterov=True`, the rule of `optax.nadam`.

    Args:
      b1: Decay of the running mean of the gradient.
      b2: Decay of the running mean of the squared gradient.
      eps: Added to the root of the second moment.
      width_axis: As in `scale_by_rms_star`.

    Returns:
      A transformation whose state is a `ScaleByAdamStarState`.

    Raises:
      ValueError: At init and update, `width_axis` does not fit.

    References:
      Dozat, Incorporating Nesterov momentum into Adam, ICLR workshop 2016; docs/theory.md,
      equation (25).
    """

    def numerator(updates: Any, mu: Any, count: jax.Array) -> Any:
        ahead = unbiased(mu, b1, optax.safe_increment(count))
        return running_mean(unbiased(updates, b1, count), ahead, b1)

    def second(nu: Any, count: jax.Array) -> Any:
        return unbiased(nu, b2, count)

    return _with_momentum(b1, b2, eps, width_axis, numerator, second)


def scale_by_adam_star_uncorrected(
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    width_axis: WidthAxis = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescales updates by ADAM* without bias correction: m / (√v + ε), v per output.

    Both moments start at 0 and stay too small for some steps, so that the first step has rms
    (1 − β1) / √(1 − β2) in place of 1.

    Args:
      b1: Decay of the running mean of the gradient.
      b2: Decay of the running mean of the squared gradient.
      eps: Added to the root of the second moment.
      width_axis: As in `scale_by_rms_star`.

    Returns:
      A transformation whose state is a `ScaleByAdamStarState`.

    Raises:
      ValueError: At init and update, `width_axis` does not fit.

    References:
      docs/theory.md, equation (8) with m and v in place of m̂ and v̂.
    """
    return _with_momentum(b1, b2, eps, width_axis, lambda g, mu, count: mu, lambda nu, count: nu)


class ScaleByMuonStarState(NamedTuple):
    """State of Muon*."""

    mu: Any
    """Running mean of the gradient, shaped as the parameters."""


def scale_by_muon_star(
    b1: jax.typing.ArrayLike = 0.9,
    eps: jax.typing.ArrayLike = 1e-4,
    width_axis: WidthAxis = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""Replaces the momentum by its orthogonal factor, Muon on M: m (mᵀm/H)^{-1/2}.

    With m the running mean of G and the E×E matrix S = mᵀm/H,

    .. math::
      u_t = m_t \left( S + \epsilon \, \tfrac{\mathrm{tr} S}{E} \, I \right)^{-1/2} .

    In terms of the singular values σ of m/√H this multiplies each by 1/√(σ² + ε mean(σ²)): those
    above √ε of their own root mean square become 1, those far below it stay small. ε has no unit,
    so that u does not change with the size of the gradient, and no bias correction is needed.
    Where S has full rank the step has rms 1 over all entries, Σ_e mean_h u² = E, up to ε; where
    its rank is r, √(r/E). The root is taken by an eigendecomposition, exactly and not by
    Newton–Schulz, in float32 at least; the default of ε is above what float32 leaves of the small
    eigenvalues of S for E up to a thousand.

    Args:
      b1: Decay of the running mean of the gradient.
      eps: Share of the mean eigenvalue of S that is added to each.
      width_axis: The axis of size H, as in `scale_by_rms_star`. All other axes of a leaf together
        are its E outputs.

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
        return ScaleByMuonStarState(jax.tree.map(jnp.zeros_like, params))

    def update(
        updates: Any, state: ScaleByMuonStarState, params: Any = None
    ) -> tuple[Any, ScaleByMuonStarState]:
        del params
        mu = running_mean(updates, state.mu, b1)

        def direction(m: jax.Array, axis: int) -> jax.Array:
            last = jnp.moveaxis(m, axis, 0)
            m_HxE = last.reshape(last.shape[0], -1)
            return jnp.moveaxis(_orthogonal(m_HxE, eps).reshape(last.shape), 0, axis)

        directions = jax.tree.map(direction, mu, leaf_axes(width_axis, updates))
        return directions, ScaleByMuonStarState(optax.tree.cast_like(mu, state.mu))

    return optax.with_extra_args_support(optax.GradientTransformation(init, update))


def _orthogonal(m_HxE: jax.Array, eps: jax.typing.ArrayLike) -> jax.Array:
    """m (S + ε (tr S / E) I)^{-1/2}, in float32 at least."""
    exact = jax.lax.Precision.HIGHEST
    wide_HxE = m_HxE.astype(jnp.float32) if m_HxE.dtype.itemsize < 4 else m_HxE
    gram_ExE = jnp.matmul(wide_HxE.T, wide_HxE, precision=exact) / m_HxE.shape[0]
    return jnp.matmul(wide_HxE, inverse_root(gram_ExE, eps), precision=exact).astype(m_HxE.dtype)


def _with_momentum(
    b1: jax.typing.ArrayLike,
    b2: jax.typing.ArrayLike,
    eps: jax.typing.ArrayLike,
    width_axis: WidthAxis,
    numerator: Callable[[Any, Any, jax.Array], Any],
    second: Callable[[Any, jax.Array], Any],
) -> optax.GradientTransformationExtraArgs:
    """What `numerator` makes of g and m over the root of what `second` makes of v, per output."""

    def init(params: Any) -> ScaleByAdamStarState:
        return ScaleByAdamStarState(
            count=jnp.zeros([], jnp.int32),
            mu=jax.tree.map(jnp.zeros_like, params),
            nu=zero_mean_square(params, width_axis),
        )

    def update(
        updates: Any, state: ScaleByAdamStarState, params: Any = None
    ) -> tuple[Any, ScaleByAdamStarState]:
        del params
        count = optax.safe_increment(state.count)
        mu = running_mean(updates, state.mu, b1)
        nu = running_mean(mean_square(updates, width_axis), state.nu, b2)
        directions = _divided(numerator(updates, mu, count), second(nu, count), eps, width_axis)
        kept = optax.tree.cast_like(mu, state.mu), optax.tree.cast_like(nu, state.nu)
        return directions, ScaleByAdamStarState(count, *kept)

    return optax.with_extra_args_support(optax.GradientTransformation(init, update))


def _divided(m: Any, v: Any, eps: jax.typing.ArrayLike, width_axis: WidthAxis) -> Any:
    """m / (√v + ε), with v spread along the width."""

    def divide(m: jax.Array, v: jax.Array, axis: int) -> jax.Array:
        # A leaf of one axis has one v, a scalar, which broadcasts by itself.
        root = jnp.sqrt(v) + number(eps, v.dtype)
        return m / (jnp.expand_dims(root, axis) if root.ndim else root)

    return jax.tree.map(divide, m, v, leaf_axes(width_axis, m))
