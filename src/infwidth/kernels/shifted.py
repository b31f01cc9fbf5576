# SPDX-License-Identifier: Apache-2.0
"""The kernel of ReLU features whose bias weight is centred elsewhere, ω_b ~ N(shift, 1).

The features' arguments at x and y are jointly normal with one mean a = shift b/√d, standard
deviations σ_x = |x̃|/√d and σ_y = |ỹ|/√d, and correlation ρ = cos θ. As for normalized features
(`infwidth.kernels.normalized`), by Price's theorem and Taylor's formula, with h = a/σ_x,
k = a/σ_y and r = sin t,

    E[relu relu] = σ_x R(h) σ_y R(k) + ρ σ_x σ_y Φ(h) Φ(k)
                   + σ_x σ_y/2π ∫_0^{arcsin ρ} (ρ − sin t) exp(−a² κ(t)/2) dt

    R(h) = h Φ(h) + φ(h),   κ(t) = (1/σ_x² + 1/σ_y² − 2 sin t/(σ_x σ_y)) / cos² t

Shapes: N and M inputs of dimension D, P nodes of t.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from infwidth.kernels.inputs import (
    Number,
    as_type,
    compiled,
    extended_inputs,
    is_number,
    polar,
    product,
)

ANGLES = 24
"""Gauss–Legendre nodes of t."""


@compiled
def shifted_relu_kernel(
    x_NxD: jax.typing.ArrayLike, y_MxD: jax.typing.ArrayLike, *, bias: Number, shift: Number = -0.41
) -> jax.Array:
    """The kernel of ReLU features under ω = (ω_x, ω_b), ω_x ~ N(0, I_D), ω_b ~ N(shift, 1).

    At a shift of 0 it is `relu_kernel`. The default is the shift at which it is nearly the kernel
    of normalized features, whose weights favour units of a low ω_b too.

    The work is 24 N M exponentials. First derivatives are finite everywhere; those of higher order
    are not to be taken by machine.

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
    active_N, mean_N = _one_variable(sigma_N, a)
    active_M, mean_M = _one_variable(sigma_M, a)
    rho_NxM = product(u_Nxd, w_Mxd)
    size_NxM = sigma_N[:, None] * sigma_M[None, :]
    first_NxM = active_N[:, None] * active_M[None, :]
    return mean_N[:, None] * mean_M[None, :] + size_NxM * (
        rho_NxM * first_NxM + _remainder(rho_NxM, sigma_N, sigma_M, a)
    )


def _one_variable(sigma_N: jax.Array, a: Any) -> tuple[jax.Array, jax.Array]:
    """P(z > 0) and E[relu(z)] for z ~ N(a, σ²)."""
    h_N = a / sigma_N
    active_N = jax.scipy.special.ndtr(h_N)
    density_N = jnp.exp(-jnp.square(h_N) / 2) / math.sqrt(2 * math.pi)
    return active_N, a * active_N + sigma_N * density_N


def _remainder(rho_NxM: jax.Array, sigma_N: jax.Array, sigma_M: jax.Array, a: Number) -> jax.Array:
    """The last term of E[relu relu] without σ_x σ_y."""
    node_P, weight_P = np.polynomial.legendre.leggauss(ANGLES)
    # The integrand is 0 at its upper end, so that the end's own derivative does not count; that of
    # the arc sine would be infinite at ρ = ±1.
    end_NxM = jax.lax.stop_gradient(jnp.arcsin(jnp.clip(rho_NxM, -1, 1)))
    inverse_Nx1, inverse_1xM = 1 / sigma_N[:, None], 1 / sigma_M[None, :]
    both_NxM = inverse_Nx1 * inverse_1xM
    apart_NxM = jnp.square(inverse_Nx1 - inverse_1xM)

    def add(total_NxM: jax.Array, node: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        share, weight = node
        sine_NxM = jnp.sin(share * end_NxM)
        # 1/σ_x² + 1/σ_y² − 2 sin t/(σ_x σ_y), in which nothing cancels.
        kappa_NxM = apart_NxM / (1 - jnp.square(sine_NxM)) + 2 * both_NxM / (1 + sine_NxM)
        value_NxM = (rho_NxM - sine_NxM) * jnp.exp(-(a**2) / 2 * kappa_NxM)
        return total_NxM + weight * value_NxM, None

    nodes = (
        jnp.asarray((node_P + 1) / 2, rho_NxM.dtype),
        jnp.asarray(weight_P / (4 * math.pi), rho_NxM.dtype),
    )
    total_NxM, _ = jax.lax.scan(add, jnp.zeros_like(rho_NxM), nodes)
    return total_NxM * end_NxM
