# SPDX-License-Identifier: Apache-2.0
"""What several modules do with matrices."""

import jax
import jax.numpy as jnp
import numpy as np


def product(a: jax.Array, b: jax.Array) -> jax.Array:
    """The matrix product in full precision on every device."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def check_finite(what: str, values: jax.Array) -> None:
    """Raises ValueError with the number of the first row that holds a number that is not finite."""
    finite = np.isfinite(np.asarray(values))
    if not finite.all():
        first = int(np.argwhere(~finite)[0, 0])
        raise ValueError(f"{what} {first} holds a number that is not finite")
