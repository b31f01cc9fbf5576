# SPDX-License-Identifier: Apache-2.0
"""The inverse square root of a Gram matrix, which Muon* multiplies its momentum by."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

_product = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


def inverse_root(gram_ExE: jax.Array, eps: jax.typing.ArrayLike) -> jax.Array:
    """(S + ε (tr S / E) I)^{-1/2}, by an eigendecomposition.

    Its derivative is finite where eigenvalues coincide, too, unlike that of the decomposition.

    Args:
      gram_ExE: S, Hermitian and positive semi-definite up to rounding: negative eigenvalues are
        taken for 0. Float32 or float64.
      eps: ε, the share of the mean eigenvalue that is added to each.

    Returns:
      The root, shape (E, E); 0 where S is 0.
    """
    return _inverse_root(gram_ExE, jnp.asarray(eps, gram_ExE.real.dtype))


@jax.custom_jvp
def _inverse_root(gram_ExE: jax.Array, eps: jax.Array) -> jax.Array:
    root_E, vector_ExE = _decomposed(gram_ExE, eps)
    return _product(vector_ExE * root_E[None, :], vector_ExE.conj().T)


def _decomposed(gram_ExE: jax.Array, eps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The root's eigenvalues and eigenvectors."""
    value_E, vector_ExE = jnp.linalg.eigh(gram_ExE)
    value_E = jnp.maximum(value_E, 0)
    value_E = value_E + eps * jnp.mean(value_E)
    nothing_E = value_E <= 0
    root_E = jnp.where(nothing_E, 0, 1 / jnp.sqrt(jnp.where(nothing_E, 1, value_E)))
    return root_E.astype(vector_ExE.dtype), vector_ExE


@_inverse_root.defjvp
def _derivative(primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    """With R's eigenvalues r and S's tangent A in its eigenbasis, −A_ij r_i² r_j² / (r_i + r_j)."""
    (gram_ExE, eps), (moved_ExE, eps_moved) = primals, tangents
    root_E, vector_ExE = _decomposed(gram_ExE, eps)
    E = len(root_E)
    shift = (eps * jnp.trace(moved_ExE).real + eps_moved * jnp.trace(gram_ExE).real) / E
    moved_ExE = moved_ExE + shift.astype(moved_ExE.dtype) * jnp.eye(E, dtype=moved_ExE.dtype)
    inside_ExE = _product(vector_ExE.conj().T, _product(moved_ExE, vector_ExE))
    sum_ExE = root_E[:, None] + root_E[None, :]
    weight_ExE = jnp.square(root_E[:, None] * root_E[None, :]) / jnp.where(sum_ExE == 0, 1, sum_ExE)
    outside_ExE = _product(vector_ExE, _product(-weight_ExE * inside_ExE, vector_ExE.conj().T))
    return _product(vector_ExE * root_E[None, :], vector_ExE.conj().T), outside_ExE
