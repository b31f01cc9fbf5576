# SPDX-License-Identifier: Apache-2.0
"""ADAM* and its kin at infinite width, as in `infwidth.optim` at finite width.

Each is its namesake of `infwidth.optim`, applied to all readouts M_ω at once: the same arguments,
the same numbers up to the difference between a mean over H units and an expectation. Every rule
keeps the kernel: M_ω stays a combination of the features of the inputs seen (docs/theory.md,
sections 6 to 8 and 13).

Shapes: N examples in the data set, K of them in a batch, E outputs.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from infwidth.infinite.gradient import (
    FunctionalGradient,
    KernelTransformation,
    Number,
    SecondMoment,
    Updates,
    as_type_of,
    check_second_moment,
    observed,
    of_batch,
    over_data,
    running_mean,
    size,
    unbiased,
    zero_moment,
)
from infwidth.infinite.rules import Schedule, trace, with_rate_and_decay
from infwidth.optim.moments import inverse_root, product


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
    eps_root: Number = 0.0,
    mu_dtype: jax.typing.DTypeLike | None = None,
    *,
    nesterov: bool = False,
    bias_correction: bool = True,
    second_moment: SecondMoment = "per_output",
) -> KernelTransformation:
    """Rescales a functional gradient by ADAM*: m̂ / (√v̂ + ε), in coefficients.

    Args:
      b1: Decay of the running mean of the gradient.
      b2: Decay of the running mean of the squared gradient.
      eps: Added to the root of the second moment.
      eps_root: Added to the second moment under the root.
      mu_dtype: Type of m; None is that of the coefficients.
      nesterov: Whether the numerator looks one step ahead (NAdam*).
      bias_correction: Whether m and v are divided by the sums of their weights.
      second_moment: `per_output`: one v for each output; `global`: one for all of them; `error`:
        for each output the sum of δ² over the examples of the batch, where one that stands in it
        twice has the sum of both.

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
      `error` are rows A and C of the table in its section 7; NAdam*, equation (25).
    """
    check_second_moment(second_moment)

    def init(c_NxE: jax.Array) -> ScaleByAdamStarState:
        return ScaleByAdamStarState(
            jnp.zeros([], jnp.int32),
            jnp.zeros_like(c_NxE, dtype=mu_dtype),
            zero_moment(second_moment, c_NxE),
        )

    def update(
        updates: Updates, state: ScaleByAdamStarState, c_NxE: jax.Array | None = None
    ) -> tuple[jax.Array, ScaleByAdamStarState]:
        del c_NxE
        gradient = of_batch(updates, "scale_by_adam_star")
        count = state.count + 1
        kept_NxE = state.mu_NxE.astype(state.nu.dtype)
        fresh_NxE = over_data(gradient, kept_NxE)
        mu_NxE = running_mean(fresh_NxE, kept_NxE, b1)
        nu = running_mean(observed(second_moment, gradient), state.nu, b2)
        m_NxE, g_NxE, v = mu_NxE, fresh_NxE, nu
        if bias_correction:
            m_NxE = unbiased(mu_NxE, b1, count + 1 if nesterov else count)
            g_NxE, v = unbiased(fresh_NxE, b1, count), unbiased(nu, b2, count)
        if nesterov:
            m_NxE = running_mean(g_NxE, m_NxE, b1)
        divisor_E = jnp.broadcast_to(size(v, eps, eps_root), m_NxE.shape[1:])
        new_state = ScaleByAdamStarState(count, mu_NxE.astype(state.mu_NxE.dtype), nu)
        return m_NxE / divisor_E[None, :], new_state

    return KernelTransformation(init, update)


def adam_star(
    learning_rate: Number | Schedule,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    mu_dtype: jax.typing.DTypeLike | None = None,
    *,
    nesterov: bool = False,
    bias_correction: bool = True,
    second_moment: SecondMoment = "per_output",
    weight_decay: Number | Schedule = 0.0,
) -> KernelTransformation:
    """ADAM* at infinite width: −η (m̂ / (√v̂ + ε) + λ M), with m̂ and v̂ of `scale_by_adam_star`.

    Other arguments and errors are those of `scale_by_adam_star`, too.

    Args:
      learning_rate: η, a number, or a function of the steps taken.
      weight_decay: λ, decoupled as in AdamW and multiplied by the learning rate.

    Returns:
      The transformation, to be used with `apply_updates`.

    References:
      Sernau, arXiv 2406.18800, as reconstructed in docs/theory.md, equation (9).
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
    )
    return with_rate_and_decay(rule, learning_rate, weight_decay)


def nadam_star(
    learning_rate: Number | Schedule,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    mu_dtype: jax.typing.DTypeLike | None = None,
    *,
    nesterov: bool = True,
    bias_correction: bool = True,
    second_moment: SecondMoment = "per_output",
    weight_decay: Number | Schedule = 0.0,
) -> KernelTransformation:
    """NAdam* at infinite width: `adam_star` with Nesterov's look ahead.

    Arguments, result and errors are those of `adam_star`; `nesterov` is True.

    References:
      docs/theory.md, equation (25).
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
    )


class ScaleByRmsStarState(NamedTuple):
    """State of RMSprop*: E numbers."""

    count: jax.Array  # type: ignore[assignment]  # the name optax knows it by
    """Steps taken, int32."""
    nu: jax.Array
    """Running mean of the shared square: shape (E,), or a scalar."""


def scale_by_rms_star(
    decay: Number = 0.9,
    eps: Number = 1e-8,
    *,
    bias_correction: bool = False,
    second_moment: SecondMoment = "per_output",
) -> KernelTransformation:
    """Rescales a functional gradient by RMSprop*: 1 / (√v + ε), with v as in ADAM*.

    Arguments (`decay` is β2) and errors are those of `scale_by_adam_star`.

    Returns:
      A transformation whose state is a `ScaleByRmsStarState`; what it returns is still the gradient
      of a batch.

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
        nu = running_mean(observed(second_moment, gradient), state.nu, decay)
        v = unbiased(nu, decay, count) if bias_correction else nu
        return gradient.scaled(1 / size(v, eps)), ScaleByRmsStarState(count, nu)

    return KernelTransformation(init, update)


def rmsprop_star(
    learning_rate: Number | Schedule,
    decay: Number = 0.9,
    eps: Number = 1e-8,
    *,
    momentum: Number | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
    second_moment: SecondMoment = "per_output",
    weight_decay: Number | Schedule = 0.0,
) -> KernelTransformation:
    """RMSprop* at infinite width: each gradient by its own shared size, then momentum if given.

    Other arguments, result and errors are those of `scale_by_rms_star` and of `adam_star`; weight
    decay has no part in momentum.

    Args:
      momentum: Applied after the rate, as in `optax.rmsprop`; None is none.
      nesterov: Whether the momentum looks one step ahead.
    """
    rule = scale_by_rms_star(
        decay, eps, bias_correction=bias_correction, second_moment=second_moment
    )
    after = None if momentum is None else trace(momentum, nesterov)
    return with_rate_and_decay(rule, learning_rate, weight_decay, after)


class ScaleByAdagradStarState(NamedTuple):
    """State of Adagrad*: E numbers."""

    sum_of_squares: jax.Array
    """Sum of the shared square over all steps: shape (E,), or a scalar."""


def scale_by_adagrad_star(
    initial_accumulator_value: Number = 0.0,
    eps: Number = 1e-8,
    *,
    second_moment: SecondMoment = "per_output",
) -> KernelTransformation:
    """Rescales a functional gradient by Adagrad*: 1 / (√v + ε), with v a sum over all steps.

    Args:
      initial_accumulator_value: What the sum starts from; optax has 0.1.
      eps: ε, added to the root of the sum.
      second_moment: as of `scale_by_adam_star`; errors as there.

    Returns:
      A transformation whose state is a `ScaleByAdagradStarState`; what it returns is still the
      gradient of a batch.

    References:
      docs/theory.md, equation (24).
    """
    check_second_moment(second_moment)

    def init(c_NxE: jax.Array) -> ScaleByAdagradStarState:
        zero = zero_moment(second_moment, c_NxE)
        return ScaleByAdagradStarState(zero + as_type_of(initial_accumulator_value, zero))

    def update(
        updates: Updates, state: ScaleByAdagradStarState, c_NxE: jax.Array | None = None
    ) -> tuple[Updates, ScaleByAdagradStarState]:
        del c_NxE
        gradient = of_batch(updates, "scale_by_adagrad_star")
        total = state.sum_of_squares
        total = total + observed(second_moment, gradient).astype(total.dtype)
        return gradient.scaled(1 / size(total, eps)), ScaleByAdagradStarState(total)

    return KernelTransformation(init, update)


def adagrad_star(
    learning_rate: Number | Schedule,
    initial_accumulator_value: Number = 0.0,
    eps: Number = 1e-8,
    *,
    second_moment: SecondMoment = "per_output",
    weight_decay: Number | Schedule = 0.0,
) -> KernelTransformation:
    """Adagrad* at infinite width: each gradient by the root of the sum of all shared squares.

    Arguments, result and errors are those of `scale_by_adagrad_star` and of `adam_star`.
    """
    rule = scale_by_adagrad_star(initial_accumulator_value, eps, second_moment=second_moment)
    return with_rate_and_decay(rule, learning_rate, weight_decay)


class ScaleByMuonStarState(NamedTuple):
    """State of Muon*: N E + E² numbers."""

    mu_NxE: jax.Array
    """a, coefficients of the running mean m of the gradient."""
    gram_ExE: jax.Array
    """S = E_ω[m mᵀ] = aᵀΘa."""


def scale_by_muon_star(
    b1: Number = 0.9, eps: Number = 1e-4, *, mu_dtype: jax.typing.DTypeLike | None = None
) -> KernelTransformation:
    """Replaces the momentum by its orthogonal factor: a (aᵀΘa + ε (tr aᵀΘa / E) I)^{-1/2}.

    With m ← β1 m + (1 − β1) G the matrix S = aᵀΘa follows from its last value, the kernel of the
    batch with itself and with all examples, which the forward pass has made:

        S ← β1² S + β1 (1 − β1) (C + Cᵀ) + (1 − β1)² δᵀΘδ,   C = δᵀ (Θ a)

    with Θa at the inputs of the batch and the old a. A step costs O(K N E), as the forward pass
    does, and O(E³); no kernel matrix of the data set is needed. An error of S fades like β1²ᵗ.

    Args:
      b1: Decay of the running mean of the gradient.
      eps: Share of the mean eigenvalue of S that is added to each.
      mu_dtype: Type of a; None is that of the coefficients.

    Returns:
      A transformation whose state is a `ScaleByMuonStarState`.

    References:
      docs/theory.md, equations (12), (26) and (27).
    """

    def init(c_NxE: jax.Array) -> ScaleByMuonStarState:
        E = c_NxE.shape[1]
        return ScaleByMuonStarState(
            jnp.zeros_like(c_NxE, dtype=mu_dtype), jnp.zeros((E, E), c_NxE.dtype)
        )

    def update(
        updates: Updates, state: ScaleByMuonStarState, c_NxE: jax.Array | None = None
    ) -> tuple[jax.Array, ScaleByMuonStarState]:
        del c_NxE
        gradient = of_batch(updates, "scale_by_muon_star")
        kept_NxE = state.mu_NxE.astype(state.gram_ExE.dtype)
        mu_NxE = running_mean(over_data(gradient, kept_NxE), kept_NxE, b1)
        moved = state._replace(mu_NxE=kept_NxE)
        gram_ExE = _moved_gram(gradient, moved, as_type_of(b1, state.gram_ExE))
        step_NxE = product(mu_NxE, inverse_root(gram_ExE, eps))
        return step_NxE, ScaleByMuonStarState(mu_NxE.astype(state.mu_NxE.dtype), gram_ExE)

    return KernelTransformation(init, update)


def muon_star(
    learning_rate: Number | Schedule,
    b1: Number = 0.9,
    eps: Number = 1e-4,
    *,
    mu_dtype: jax.typing.DTypeLike | None = None,
    weight_decay: Number | Schedule = 0.0,
) -> KernelTransformation:
    """Muon on M at infinite width: the momentum's orthogonal factor.

    Arguments and result are those of `scale_by_muon_star` and of `adam_star`.
    """
    rule = scale_by_muon_star(b1, eps, mu_dtype=mu_dtype)
    return with_rate_and_decay(rule, learning_rate, weight_decay)


def _moved_gram(
    gradient: FunctionalGradient, state: ScaleByMuonStarState, b1: jax.Array
) -> jax.Array:
    if gradient.theta_KxN is None:
        raise ValueError(
            "scale_by_muon_star needs the kernel of the batch with the whole data set: give "
            "FunctionalGradient its theta_KxN"
        )
    delta_KxE = gradient.delta_KxE
    cross_ExE = product(delta_KxE.T, product(gradient.theta_KxN, state.mu_NxE))
    fresh_ExE = product(delta_KxE.T, product(gradient.theta_KxK, delta_KxE))
    both_ExE = cross_ExE + cross_ExE.T
    return b1**2 * state.gram_ExE + (1 - b1) * (b1 * both_ExE + (1 - b1) * fresh_ExE)
