# SPDX-License-Identifier: Apache-2.0
"""The inverse square root of a Gram matrix, which Muon* multiplies its momentum by."""

import jax
import jax.numpy as jnp


def inverse_root(gram_ExE: jax.Array, eps: jax.typing.ArrayLike) -> jax.Array:
    """(S + ε (tr S / E) I)^{-1/2}, by an eigendecomposition.

    Args:
      gram_ExE: S, symmetric and positive semi-definite up to rounding: negative eigenvalues are
        taken for 0. Float32 or float64.
      eps: ε, the share of the mean eigenvalue that is added to each.

    Returns:
      The root, shape (E, E); 0 where S is 0.
    """
    value_E, vector_ExE = jnp.linalg.eigh(gram_ExE)
    value_E = jnp.maximum(value_E, 0)
    value_E = value_E + jnp.asarray(eps, value_E.dtype) * jnp.mean(value_E)
    nothing_E = value_E <= 0
    root_E = jnp.where(nothing_E, 0, 1 / jnp.sqrt(jnp.where(nothing_E, 1, value_E)))
    return jnp.matmul(
        vector_ExE * root_E[None, :], vector_ExE.T, precision=jax.lax.Precision.HIGHEST
    )
