# SPDX-License-Identifier: Apache-2.0
"""Adagrad*, NAdam* and Muon* at infinite width, as in `infwidth.optim` at finite width.

Shapes: N examples in the data set, K of them in a batch, E outputs.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from infwidth.infinite.arrays import product
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
from infwidth.infinite.rules import ScaleByAdamStarState
from infwidth.optim.inverse_root import inverse_root


class ScaleByAdagradStarState(NamedTuple):
    """State of Adagrad*: E numbers."""

    sum_of_squares: jax.Array
    """Sum of the shared square over all steps: shape (E,), or a scalar."""


def scale_by_adagrad_star(
    eps: Number = 1e-8, second_moment: SecondMoment = "per_output"
) -> KernelTransformation:
    """Rescales a functional gradient by Adagrad*: 1 / (√v + ε), with v a sum over all steps.

    Args:
      eps: Added to the root of the sum.
      second_moment: as in `scale_by_adam_star`.

    Returns:
      A transformation whose state is a `ScaleByAdagradStarState`; what it returns is still the
      gradient of a batch.

    Raises:
      ValueError: `second_moment` is unknown, or leaves the kernel.

    References:
      docs/theory.md, equation (24).
    """
    check_second_moment(second_moment)

    def init(c_NxE: jax.Array) -> ScaleByAdagradStarState:
        return ScaleByAdagradStarState(zero_moment(second_moment, c_NxE))

    def update(
        updates: Updates, state: ScaleByAdagradStarState, c_NxE: jax.Array | None = None
    ) -> tuple[Updates, ScaleByAdagradStarState]:
        del c_NxE
        gradient = of_batch(updates, "scale_by_adagrad_star")
        total = state.sum_of_squares
        total = total + observed(second_moment, gradient).astype(total.dtype)
        step = gradient.scaled(1 / (jnp.sqrt(total) + as_type_of(eps, total)))
        return step, ScaleByAdagradStarState(total)

    return KernelTransformation(init, update)


def scale_by_nadam_star(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    second_moment: SecondMoment = "per_output",
) -> KernelTransformation:
    """Rescales a functional gradient by NAdam*, ADAM* with Nesterov's look ahead.

    Args:
      b1: Decay of the running mean of the gradient.
      b2: Decay of the running mean of the squared gradient.
      eps: Added to the root of the second moment.
      second_moment: as in `scale_by_adam_star`.

    Returns:
      A transformation whose state is a `ScaleByAdamStarState`.

    Raises:
      ValueError: `second_moment` is unknown, or leaves the kernel.

    References:
      docs/theory.md, equation (25).
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
        gradient = of_batch(updates, "scale_by_nadam_star")
        count = state.count + 1
        fresh_NxE = over_data(gradient, state.mu_NxE)
        mu_NxE = running_mean(fresh_NxE, state.mu_NxE, b1)
        nu = running_mean(observed(second_moment, gradient), state.nu, b2)
        ahead_NxE = unbiased(mu_NxE, b1, count + 1)
        look_NxE = running_mean(unbiased(fresh_NxE, b1, count), ahead_NxE, b1)
        return divided(look_NxE, unbiased(nu, b2, count), eps), ScaleByAdamStarState(
            count, mu_NxE, nu
        )

    return KernelTransformation(init, update)


class ScaleByMuonStarState(NamedTuple):
    """State of Muon*: N E + E² numbers."""

    mu_NxE: jax.Array
    """a, coefficients of the running mean m of the gradient."""
    gram_ExE: jax.Array
    """S = E_ω[m mᵀ] = aᵀΘa."""


def scale_by_muon_star(b1: Number = 0.9, eps: Number = 1e-4) -> KernelTransformation:
    """Replaces the momentum by its orthogonal factor: a (aᵀΘa + ε (tr aᵀΘa / E) I)^{-1/2}.

    With m ← β1 m + (1 − β1) G the matrix S = aᵀΘa follows from its last value, the kernel of the
    batch with itself and with all examples, which the forward pass has made:

        S ← β1² S + β1 (1 − β1) (C + Cᵀ) + (1 − β1)² δᵀΘδ,   C = δᵀ (Θ a)

    with Θa at the inputs of the batch and the old a. A step costs O(K N E), as the forward pass
    does, and O(E³); no kernel matrix of the data set is needed. An error of S fades like β1²ᵗ.

    Args:
      b1: Decay of the running mean of the gradient.
      eps: Share of the mean eigenvalue of S that is added to each.

    Returns:
      A transformation whose state is a `ScaleByMuonStarState`.

    References:
      docs/theory.md, equations (12), (26) and (27).
    """

    def init(c_NxE: jax.Array) -> ScaleByMuonStarState:
        E = c_NxE.shape[1]
        return ScaleByMuonStarState(jnp.zeros_like(c_NxE), jnp.zeros((E, E), c_NxE.dtype))

    def update(
        updates: Updates, state: ScaleByMuonStarState, c_NxE: jax.Array | None = None
    ) -> tuple[jax.Array, ScaleByMuonStarState]:
        del c_NxE
        gradient = of_batch(updates, "scale_by_muon_star")
        mu_NxE = running_mean(over_data(gradient, state.mu_NxE), state.mu_NxE, b1)
        gram_ExE = _moved_gram(gradient, state, as_type_of(b1, state.gram_ExE))
        step_NxE = product(mu_NxE, inverse_root(gram_ExE, eps))
        return step_NxE, ScaleByMuonStarState(mu_NxE, gram_ExE)

    return KernelTransformation(init, update)


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
