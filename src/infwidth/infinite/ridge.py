# SPDX-License-Identifier: Apache-2.0
"""Kernel ridge regression in closed form, which is the posterior of a Gaussian process.

Shapes: N examples, M other inputs, D input dimension, E outputs.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from infwidth.infinite.readout import Kernel, Readout, check_finite

JITTER = 2.0
"""The least ridge, in roundings of the trace of Θ: below it a Cholesky factor may not exist."""


class Solution(NamedTuple):
    """What `solve` found."""

    coefficients_NxE: jax.Array
    """c, for `Readout.__call__`."""
    factor_NxN: jax.Array
    """The lower Cholesky factor of Θ + λ I."""
    ridge: jax.Array
    """λ, the one that was asked for or the least there may be."""


def solve(
    readout: Readout, target_NxE: jax.typing.ArrayLike, ridge: jax.typing.ArrayLike = 0.0
) -> Solution:
    """The readout M of least Σ_i |f(x_i) − y_i|² + λ E_ω|M_ω|², as coefficients: (Θ + λ I) c = y.

    f then is the posterior mean of a Gaussian process with prior covariance Θ in each output, of
    which y_i = f(x_i) + noise of variance λ is known. It takes N³/3 operations, and N² numbers more
    than the kernel matrix.

    Args:
      readout: the examples and their kernel matrix.
      target_NxE: y; of classes, their one-hot vectors.
      ridge: λ ≥ 0. A λ that rounding would hide, below 2 ε tr Θ (ε the rounding of the type), is
        raised to that.

    Returns:
      The solution; its `ridge` is the λ that was used.

    Raises:
      ValueError: the targets are not of these examples and outputs, or not finite; λ is negative;
        the kernel matrix has no room; or Θ + λ I is not positive definite.

    Examples:
      >>> import jax.numpy as jnp
      >>> from infwidth import infinite
      >>> from infwidth.kernels import gelu_kernel
      >>> x_NxD = jnp.linspace(-1, 1, 9)[:, None]
      >>> readout = infinite.Readout(gelu_kernel, x_NxD, outputs=1)
      >>> solution = infinite.solve(readout, jnp.abs(x_NxD), ridge=1e-4)
      >>> at_MxD = jnp.array([[0.5], [5.0]])  # the second is far from all examples
      >>> f_Mx1 = readout(solution.coefficients_NxE, at_MxD)
      >>> sigma_M = jnp.sqrt(infinite.posterior_variance(readout, solution, at_MxD))
      >>> bool(abs(f_Mx1[0, 0] - 0.5) < 0.02), bool(sigma_M[1] > 20 * sigma_M[0])
      (True, True)

    References:
      C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning, 2006,
      equations (2.25) and (2.26); docs/theory.md, equation (29).
    """
    target_NxE = jnp.asarray(target_NxE, readout.dtype)
    shape = (readout.x_NxD.shape[0], readout.outputs)
    if target_NxE.shape != shape:
        raise ValueError(f"targets must have shape {shape}; got {target_NxE.shape}")
    check_finite("target", target_NxE)
    if not jnp.asarray(ridge) >= 0:
        raise ValueError(f"ridge must be at least 0; got {ridge}")
    theta_NxN = readout.gram_NxN
    if theta_NxN is None:
        needed = shape[0] ** 2 * readout.dtype.itemsize
        raise ValueError(
            f"solve needs the kernel matrix, {needed / 1e9:.3g} GB: raise gram_limit of Readout"
        )
    solution = _solve(theta_NxN, target_NxE, jnp.asarray(ridge, readout.dtype))
    if not jnp.isfinite(solution.coefficients_NxE).all():
        raise ValueError(
            f"Θ + λ I is not positive definite at λ = {float(solution.ridge):.3g}: raise ridge, or "
            "give a kernel that is symmetric and positive semi-definite"
        )
    return solution


def posterior_variance(
    readout: Readout, solution: Solution, y_MxD: jax.typing.ArrayLike
) -> jax.Array:
    """The variance of f at some inputs, given the targets: Θ(y, y) − θᵀ (Θ + λ I)⁻¹ θ, the same for
    all outputs.

    Args:
      readout: that was solved.
      solution: of `solve`.
      y_MxD: inputs, one a row.

    Returns:
      variance_M, of f itself; that of a target seen there is larger by λ.

    Raises:
      ValueError: the inputs are no matrix of the examples' dimension, or one is not finite.

    References:
      Rasmussen and Williams (2006), equation (2.26).
    """
    y_MxD = jnp.asarray(y_MxD, readout.x_NxD.dtype)
    first, parts = 0, [jnp.zeros(0, readout.dtype)]
    for theta_BxN in readout.rows(y_MxD):
        y_BxD = y_MxD[first : first + len(theta_BxN)]
        parts.append(_variance(readout.kernel, y_BxD, theta_BxN, solution.factor_NxN))
        first += len(theta_BxN)
    return jnp.concatenate(parts)


@jax.jit
def _solve(theta_NxN: jax.Array, target_NxE: jax.Array, ridge: jax.Array) -> Solution:
    least = JITTER * jnp.finfo(theta_NxN.dtype).eps * jnp.trace(theta_NxN)
    ridge = jnp.maximum(ridge, least.astype(ridge.dtype))
    factor_NxN = jnp.linalg.cholesky(theta_NxN + ridge * jnp.eye(len(theta_NxN), dtype=ridge.dtype))
    c_NxE = jax.scipy.linalg.cho_solve((factor_NxN, True), target_NxE)
    return Solution(c_NxE, factor_NxN, ridge)


@partial(jax.jit, static_argnames="kernel")
def _variance(
    kernel: Kernel, y_BxD: jax.Array, theta_BxN: jax.Array, factor_NxN: jax.Array
) -> jax.Array:
    prior_B = jax.vmap(lambda y_D: kernel(y_D[None], y_D[None])[0, 0])(y_BxD)
    known_NxB = jax.scipy.linalg.solve_triangular(factor_NxN, theta_BxN.T, lower=True)
    # Rounding may make it negative where the targets leave nothing open.
    return jnp.maximum(prior_B - jnp.sum(jnp.square(known_NxB), axis=0), 0)
