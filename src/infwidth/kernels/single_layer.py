# SPDX-License-Identifier: Apache-2.0
"""Kernels of one layer of random features, E_ω[g(ω·x̃/√d) g(ω·ỹ/√d)] under ω ~ N(0, I_d).

Written in q(x) = |x̃|²/d and p = x̃·ỹ/d, the variances and the covariance of the features' arguments.

Shapes: N and M inputs of dimension D; x̃ = (x, b), d = D + 1, where b > 0, else x̃ = x, d = D.
"""

import math

import jax
import jax.numpy as jnp

from infwidth.kernels.arc_cosine import arc_cosine_1
from infwidth.kernels.inputs import Number, compiled, extended_inputs, polar, product


@compiled
def relu_kernel(
    x_NxD: jax.typing.ArrayLike, y_MxD: jax.typing.ArrayLike, *, bias: Number = 0.0
) -> jax.Array:
    """The kernel of ReLU features, the arc-cosine kernel of degree 1 by 1 / (2d).

    Θ(x, y) = |x̃| |ỹ| (sin θ + (π − θ) cos θ) / (2π d), with θ the angle between x̃ and ỹ.

    Differentiable at all x̃ ≠ 0, among them ỹ and −ỹ; at x̃ = 0 the gradient is 0, that of the
    features with relu'(0) = 0. Errors of values and gradients are a few roundings of the size of
    √(Θ(x, x) Θ(y, y)) and of its gradient, as long as |x̃| |ỹ| stays well within the range of the
    type (above 1e-30 in float32). The work is one matrix product and an elementwise polynomial.

    Args:
      x_NxD: inputs, one a row.
      y_MxD: inputs, one a row.
      bias: b ≥ 0, the constant appended to every input; the number 0 appends none, an array always
        one.

    Returns:
      theta_NxM, in the inputs' precision, at least float32.

    Raises:
      ValueError: if the inputs' shapes do not fit, they are complex, or b is negative.

    Examples:
      >>> import jax.numpy as jnp
      >>> from infwidth.kernels import relu_kernel
      >>> print(relu_kernel(jnp.array([[3.0, 4.0]]), jnp.array([[3.0, 4.0], [-3.0, -4.0]])))
      [[6.25 0.  ]]

    References:
      Cho & Saul (2009), equation (3), n = 1; docs/theory.md, equations (5) and (6).
    """
    x_Nxd, y_Mxd = extended_inputs(x_NxD, y_MxD, bias)
    x_N, u_Nxd = polar(x_Nxd)
    y_M, w_Mxd = polar(y_Mxd)
    cosine_NxM = product(u_Nxd, w_Mxd)
    size_NxM = (x_N / (2 * math.pi * x_Nxd.shape[1]))[:, None] * y_M[None, :]
    return size_NxM * arc_cosine_1(1 - cosine_NxM, 1 + cosine_NxM)


@compiled
def erf_kernel(
    x_NxD: jax.typing.ArrayLike, y_MxD: jax.typing.ArrayLike, *, bias: Number = 0.0
) -> jax.Array:
    """The kernel of features erf(ω·x̃/√d).

    Θ(x, y) = (2/π) arcsin(2p / √((1 + 2q(x))(1 + 2q(y)))), computed as the angle of a right
    triangle, whose sides keep their digits where the arcsine's argument is next to ±1.

    Values are accurate to a few roundings ε, whatever the norms, but those of parallel inputs to
    ε √q, at most √ε. So are gradients for q up to about 10; beyond, those of parallel inputs lose
    digits in proportion to q.

    Arguments, result and errors are those of `relu_kernel`.

    References:
      Williams (1997), equation (11), with the weights' covariance I / d.
    """
    s_Nx1, s_1xM, p_NxM, q_Nx1, q_1xM = _covariances(*extended_inputs(x_NxD, y_MxD, bias))
    # (1 + 2q)(1 + 2q') − 4p² times (s s')², in which nothing large cancels but q q' − p².
    square_NxM = jnp.square(s_Nx1 * s_1xM) + 2 * (q_Nx1 * s_1xM**2 + q_1xM * s_Nx1**2)
    square_NxM = square_NxM + 4 * _determinant(p_NxM, q_Nx1, q_1xM)
    return jnp.arctan2(2 * p_NxM, jnp.sqrt(square_NxM)) * (2 / math.pi)


@compiled
def gelu_kernel(
    x_NxD: jax.typing.ArrayLike, y_MxD: jax.typing.ArrayLike, *, bias: Number = 0.0
) -> jax.Array:
    """The kernel of features gelu(ω·x̃/√d), gelu(z) = z Φ(z) with the exact normal distribution Φ.

    With Δ = (1 + q(x))(1 + q(y)) − p²,

        Θ(x, y) = ( p (π/2 + arctan(p / √Δ)) + (p² + q(x) q(y) Δ) / ((1 + q(x))(1 + q(y)) √Δ) ) / 2π

    which is smooth everywhere, since Δ ≥ 1. Values are accurate to a few roundings, whatever the
    norms, as long as |x̃| |ỹ| stays within the range of the type.

    Arguments, result and errors are those of `relu_kernel`.

    References:
      Tsuchida et al. (2021), the GELU kernel. It follows from Stein's lemma and from
      E[Φ(u) Φ(w)] = 1/4 + arctan(p / √Δ) / 2π and E[φ(u) φ(w)] = 1 / (2π √Δ).
    """
    s_Nx1, s_1xM, p_NxM, q_Nx1, q_1xM = _covariances(*extended_inputs(x_NxD, y_MxD, bias))
    square_Nx1, square_1xM = s_Nx1**2, s_1xM**2
    one_NxM = square_Nx1 * square_1xM
    delta_NxM = (
        one_NxM + q_Nx1 * square_1xM + q_1xM * square_Nx1 + _determinant(p_NxM, q_Nx1, q_1xM)
    )
    root_NxM = jnp.sqrt(delta_NxM)
    linear_NxM = p_NxM * jnp.arctan2(root_NxM, -p_NxM)
    sum_Nx1, sum_1xM = square_Nx1 + q_Nx1, square_1xM + q_1xM
    square_NxM = one_NxM * (p_NxM / sum_Nx1) * (p_NxM / sum_1xM) / root_NxM
    scaled_NxM = linear_NxM + square_NxM + (q_Nx1 / sum_Nx1) * (q_1xM / sum_1xM) * root_NxM
    return scaled_NxM / s_Nx1 / s_1xM / (2 * math.pi)


def _covariances(x_Nxd: jax.Array, y_Mxd: jax.Array) -> tuple[jax.Array, ...]:
    """Factors s, s' and, of the inputs times these, p, q and q'.

    The factors are 1 unless q q' might overflow.
    """
    s_Nx1, x_Nxd = _within_range(x_Nxd)
    s_Mx1, y_Mxd = _within_range(y_Mxd)
    d = x_Nxd.shape[1]
    q_Nx1 = jnp.sum(jnp.square(x_Nxd), axis=1, keepdims=True) / d
    q_1xM = jnp.sum(jnp.square(y_Mxd), axis=1, keepdims=True).T / d
    return s_Nx1, s_Mx1.T, product(x_Nxd, y_Mxd) / d, q_Nx1, q_1xM


def _within_range(x_Nxd: jax.Array) -> tuple[jax.Array, jax.Array]:
    largest_Nx1 = jax.lax.stop_gradient(jnp.max(jnp.abs(x_Nxd), axis=1, keepdims=True))
    limit = float(jnp.finfo(x_Nxd.dtype).max) ** 0.25 / 64
    s_Nx1 = jnp.where(largest_Nx1 > limit, 1 / largest_Nx1, 1)
    return s_Nx1, x_Nxd * s_Nx1


def _determinant(p_NxM: jax.Array, q_Nx1: jax.Array, q_1xM: jax.Array) -> jax.Array:
    """q(x) q(y) − p², which rounding must not make negative."""
    return jnp.maximum(q_Nx1 * q_1xM - jnp.square(p_NxM), 0)
