# SPDX-License-Identifier: Apache-2.0
"""Kernels of ReLU features that weigh ω_b otherwise: each divided by a scale, or ω_b shifted.

Normalized features are divided by a scale that depends on ω_b alone. Given ω_b, their arguments at
x and y are jointly normal with means a = b ω_b/√d, standard deviations σ_x = |x|/√d and
σ_y = |y|/√d, and covariance ρ σ_x σ_y = x·y/d. By Price's theorem the second derivative of
E[relu relu] in the covariance is their density at 0, and its value and first derivative at
covariance 0 are products of functions of one variable, so that by Taylor's formula, with h = a/σ_x,
k = a/σ_y and r = sin t,

    E[relu relu] = σ_x R(h) σ_y R(k) + ρ σ_x σ_y Φ(h) Φ(k)
                   + σ_x σ_y/2π ∫_0^{arcsin ρ} (ρ − sin t) exp(−a² κ(t)/2) dt

    R(h) = h Φ(h) + φ(h),   κ(t) = (1/σ_x² + 1/σ_y² − 2 sin t/(σ_x σ_y)) / cos² t

which is the closed form with the bivariate normal distribution function, and needs no such
function. Over ω_b the first two terms are matrix products.

Where ω_b ~ N(shift, 1) the same holds for all of ω at once, with a = shift b/√d and of x̃ and ỹ the
lengths and the correlation.

Shapes: N and M inputs of dimension D, Q nodes of ω_b, P nodes of t.
"""

import math
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr

from infwidth.kernels.inputs import (
    Number,
    as_type,
    compiled,
    extended_inputs,
    is_number,
    polar,
    product,
)

NODES = 32
"""Gauss–Legendre nodes of |ω_b|, each of which stands for both signs."""

LARGEST = 9.0
"""|ω_b| beyond this has a share of 2e-19."""

NEVER = 1e-60
"""Features whose mean square is below this share of the mean are left out."""

ANGLES = 24
"""Gauss–Legendre nodes of t."""


class _Nodes(NamedTuple):
    """Nodes of ω_b and their weights, in float64."""

    omega_Q: np.ndarray
    weight_Q: np.ndarray


@compiled
def normalized_relu_kernel(
    x_NxD: jax.typing.ArrayLike, y_MxD: jax.typing.ArrayLike, *, bias: Number
) -> jax.Array:
    """The kernel of normalized ReLU features, Θ_u(x, y) = E_ω[g_ω(x) g_ω(y) / s(ω)²].

    Here s² = (u/E u)^½, with u the mean square of the feature under x ~ N(0, I_D), in which |ω_x|²
    is replaced by D, so that it is a function of ω_b.

    Relative errors of the quadrature are below 1e-8, and up to 2e-5 where |x| and |y| differ a
    hundredfold. The work is some hundred times that of `relu_kernel`. First derivatives are finite
    everywhere; those of higher order are not to be taken by machine.

    Args:
      x_NxD: inputs, one a row.
      y_MxD: inputs, one a row.
      bias: b > 0, the constant appended to every input.

    Returns:
      theta_NxM, in the inputs' precision, at least float32.

    Raises:
      ValueError: if the inputs' shapes do not fit, they are complex, or b is not positive.

    References:
      docs/theory.md, equations (15) to (18).
    """
    if is_number(bias) and not bias > 0:
        raise ValueError(
            f"without a bias coordinate nothing is normalized; bias must be > 0: {bias}"
        )
    x_Nxd, y_Mxd = extended_inputs(x_NxD, y_MxD, bias)
    x_NxD, y_MxD = x_Nxd[:, :-1], y_Mxd[:, :-1]
    D = x_NxD.shape[1]
    a_Q, weight_Q = _arguments(as_type(bias, x_NxD.dtype), D, x_NxD.dtype)
    x_N, u_NxD = polar(x_NxD)
    y_M, v_MxD = polar(y_MxD)
    sigma_N, sigma_M = x_N / math.sqrt(D + 1), y_M / math.sqrt(D + 1)
    active_NxQ, mean_NxQ = _one_variable(sigma_N, a_Q)
    active_MxQ, mean_MxQ = _one_variable(sigma_M, a_Q)
    rho_NxM = product(u_NxD, v_MxD)
    size_NxM = sigma_N[:, None] * sigma_M[None, :]
    return (
        product(mean_NxQ * weight_Q[None, :], mean_MxQ)
        + rho_NxM * size_NxM * product(active_NxQ * weight_Q[None, :], active_MxQ)
        + size_NxM * _remainder(rho_NxM, sigma_N, sigma_M, a_Q, weight_Q)
    )


@compiled
def shifted_relu_kernel(
    x_NxD: jax.typing.ArrayLike, y_MxD: jax.typing.ArrayLike, *, bias: Number, shift: Number = -0.41
) -> jax.Array:
    """The kernel of ReLU features under ω = (ω_x, ω_b), ω_x ~ N(0, I_D), ω_b ~ N(shift, 1).

    At a shift of 0 it is `relu_kernel`. At the default it is nearly the kernel of normalized
    features, whose weights favour units of a low ω_b too. The work is 24 N M exponentials. First
    derivatives are finite everywhere; those of higher order are not to be taken by machine.

    Args:
      x_NxD: inputs, one a row.
      y_MxD: inputs, one a row.
      bias: b > 0, the constant appended to every input.
      shift: the mean of ω_b.

    Returns:
      theta_NxM, in the inputs' precision, at least float32.

    Raises:
      ValueError: if the inputs' shapes do not fit, they are complex, b is not positive or the shift
        is not finite.

    References:
      docs/theory.md, end of section 9.
    """
    if is_number(bias) and not bias > 0:
        raise ValueError(f"without a bias coordinate nothing is shifted; bias must be > 0: {bias}")
    if is_number(shift) and not math.isfinite(shift):
        raise ValueError(f"the shift must be finite: {shift}")
    x_Nxd, y_Mxd = extended_inputs(x_NxD, y_MxD, bias)
    root_d = math.sqrt(x_Nxd.shape[1])
    x_N, u_Nxd = polar(x_Nxd)
    y_M, w_Mxd = polar(y_Mxd)
    sigma_N, sigma_M = x_N / root_d, y_M / root_d
    a = as_type(shift, x_Nxd.dtype) * as_type(bias, x_Nxd.dtype) / root_d
    active_N, mean_N = _of_shift(sigma_N, a)
    active_M, mean_M = _of_shift(sigma_M, a)
    rho_NxM = product(u_Nxd, w_Mxd)
    size_NxM = sigma_N[:, None] * sigma_M[None, :]
    first_NxM = active_N[:, None] * active_M[None, :]
    return mean_N[:, None] * mean_M[None, :] + size_NxM * (
        rho_NxM * first_NxM + _remainder_of_shift(rho_NxM, sigma_N, sigma_M, a)
    )


def _arguments(bias: Any, D: int, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """The mean a of the features' arguments at each node of ω_b, and the node's weight."""
    if is_number(bias):
        known = nodes(bias / math.sqrt(D))
        return jnp.asarray(known[0] * bias / math.sqrt(D + 1), dtype), jnp.asarray(known[1], dtype)
    omega_Q, plain_Q = (jnp.asarray(values_Q, dtype) for values_Q in _plain_nodes())
    u_Q = _mean_square(bias / math.sqrt(D) * omega_Q, jnp, jax.scipy.special.ndtr)
    relative_Q = u_Q / jnp.sum(plain_Q * u_Q)
    fires_Q = relative_Q > max(NEVER, float(jnp.finfo(dtype).tiny) ** 0.8)
    weight_Q = plain_Q / jnp.sqrt(jnp.where(fires_Q, relative_Q, jnp.inf))
    return omega_Q * bias / math.sqrt(D + 1), weight_Q


@cache
def nodes(per_omega_b: float) -> _Nodes:
    """Quadrature over ω_b ~ N(0, 1) with the weight 1/s².

    `per_omega_b` is b/√D: times ω_b, it is the mean of a feature's argument over its standard
    deviation, for an input of x ~ N(0, I_D).
    """
    omega_Q, weight_Q = _plain_nodes()
    u_Q = _mean_square(per_omega_b * omega_Q, np, ndtr)
    relative_Q = u_Q / (weight_Q @ u_Q)
    # Features that (all but) never fire would have weights beyond float32.
    fires_Q = relative_Q > NEVER
    return _Nodes(omega_Q, weight_Q / np.sqrt(np.where(fires_Q, relative_Q, np.inf)))


def _plain_nodes() -> _Nodes:
    """Quadrature over ω_b ~ N(0, 1)."""
    node_P, weight_P = np.polynomial.legendre.leggauss(NODES)
    half_P = LARGEST / 2 * (node_P + 1)
    omega_Q = np.concatenate([half_P, -half_P])
    return _Nodes(omega_Q, np.tile(LARGEST / 2 * weight_P, 2) * _density(omega_Q, np))


def _mean_square(r_Q: Any, xp: Any, ndtr: Any) -> Any:
    """E[relu(r + z)²] = r E[relu(r + z)] + E[z relu(r + z)], of which the last is P(r + z > 0)."""
    return r_Q * (r_Q * ndtr(r_Q) + _density(r_Q, xp)) + ndtr(r_Q)


def _density(z: Any, xp: Any) -> Any:
    return xp.exp(-xp.square(z) / 2) / math.sqrt(2 * math.pi)


def _one_variable(sigma_N: jax.Array, a_Q: jax.Array) -> tuple[jax.Array, jax.Array]:
    """P(z > 0) and E[relu(z)] for z ~ N(a, σ²), each of shape (N, Q)."""
    # At σ = 0 the argument is a itself.
    varies_Nx1 = (sigma_N > 0)[:, None]
    h_NxQ = a_Q[None, :] / _positive(sigma_N)[:, None]
    certain_1xQ = (a_Q > 0).astype(a_Q.dtype)[None, :]
    active_NxQ = jnp.where(varies_Nx1, jax.scipy.special.ndtr(h_NxQ), certain_1xQ)
    return active_NxQ, a_Q[None, :] * active_NxQ + sigma_N[:, None] * _density(h_NxQ, jnp)


def _remainder(
    rho_NxM: jax.Array,
    sigma_N: jax.Array,
    sigma_M: jax.Array,
    a_Q: jax.Array,
    weight_Q: jax.Array,
) -> jax.Array:
    """The last term of E[relu relu] without σ_x σ_y, weighted and summed over ω_b."""
    node_P, weight_P = np.polynomial.legendre.leggauss(ANGLES)
    share_Px1 = jnp.asarray((node_P[:, None] + 1) / 2, rho_NxM.dtype)
    weight_1xP = jnp.asarray(weight_P[None, :] / (4 * math.pi), rho_NxM.dtype)
    # Both signs of ω_b have the same square.
    half_square_Q = jnp.square(a_Q[:NODES]) / 2
    weight_Q = weight_Q[:NODES] + weight_Q[NODES:]
    inverse_N, inverse_M = 1 / _positive(sigma_N), 1 / _positive(sigma_M)

    def of_row(row: tuple[jax.Array, jax.Array]) -> jax.Array:
        rho_1xM, inverse = row[0][None, :], row[1]
        # The integrand is 0 at its upper end, so that the end's own derivative does not count; that
        # of the arc cosine would be infinite at ρ = ±1.
        end_1xM = jax.lax.stop_gradient(jnp.arcsin(jnp.clip(rho_1xM, -1, 1)))
        sine_PxM = jnp.sin(share_Px1 * end_1xM)
        both_1xM = inverse * inverse_M[None, :]
        apart_1xM = jnp.square(inverse - inverse_M)[None, :]
        # 1/σ_x² + 1/σ_y² − 2 sin t/(σ_x σ_y), in which nothing cancels.
        kappa_PxM = apart_1xM / (1 - jnp.square(sine_PxM)) + 2 * both_1xM / (1 + sine_PxM)

        def add(total_PxM: jax.Array, node: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            half_square, weight = node
            return total_PxM + weight * jnp.exp(-half_square * kappa_PxM), None

        total_PxM, _ = jax.lax.scan(add, jnp.zeros_like(kappa_PxM), (half_square_Q, weight_Q))
        return (weight_1xP @ ((rho_1xM - sine_PxM) * total_PxM) * end_1xM)[0]

    return jax.lax.map(of_row, (rho_NxM, inverse_N))


def _positive(sigma_N: jax.Array) -> jax.Array:
    """σ where it is above 0, else 1, to divide by."""
    return jnp.where(sigma_N > 0, sigma_N, jnp.ones_like(sigma_N))


def _of_shift(sigma_N: jax.Array, a: Any) -> tuple[jax.Array, jax.Array]:
    """P(z > 0) and E[relu(z)] for z ~ N(a, σ²)."""
    h_N = a / sigma_N
    active_N = jax.scipy.special.ndtr(h_N)
    return active_N, a * active_N + sigma_N * _density(h_N, jnp)


def _remainder_of_shift(
    rho_NxM: jax.Array, sigma_N: jax.Array, sigma_M: jax.Array, a: Number
) -> jax.Array:
    """The last term of E[relu relu] without σ_x σ_y."""
    node_P, weight_P = np.polynomial.legendre.leggauss(ANGLES)
    # As above, the end's own derivative does not count.
    end_NxM = jax.lax.stop_gradient(jnp.arcsin(jnp.clip(rho_NxM, -1, 1)))
    inverse_Nx1, inverse_1xM = 1 / sigma_N[:, None], 1 / sigma_M[None, :]
    both_NxM = inverse_Nx1 * inverse_1xM
    apart_NxM = jnp.square(inverse_Nx1 - inverse_1xM)

    def add(total_NxM: jax.Array, node: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        share, weight = node
        sine_NxM = jnp.sin(share * end_NxM)
        kappa_NxM = apart_NxM / (1 - jnp.square(sine_NxM)) + 2 * both_NxM / (1 + sine_NxM)
        value_NxM = (rho_NxM - sine_NxM) * jnp.exp(-(a**2) / 2 * kappa_NxM)
        return total_NxM + weight * value_NxM, None

    nodes = (
        jnp.asarray((node_P + 1) / 2, rho_NxM.dtype),
        jnp.asarray(weight_P / (4 * math.pi), rho_NxM.dtype),
    )
    total_NxM, _ = jax.lax.scan(add, jnp.zeros_like(rho_NxM), nodes)
    return total_NxM * end_NxM
