# SPDX-License-Identifier: Apache-2.0
"""The kernel of any features under any distribution, by Monte Carlo.

Shapes: N and M inputs of dimension D, S features drawn at a time.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from infwidth.kernels.inputs import check_count, extended_inputs, product


def monte_carlo_kernel(
    features: Callable[[Any, jax.Array], jax.Array],
    key: jax.Array,
    samples: int,
    x_NxD: jax.typing.ArrayLike,
    y_MxD: jax.typing.ArrayLike,
    *,
    draw: Callable[[jax.Array], Any] | None = None,
    bias: float = 0.0,
    block: int = 1024,
) -> jax.Array:
    """(1/S) Σ_s g_{ω_s}(x) g_{ω_s}(y) for S independent draws of ω: an unbiased estimate of Θ.

    The estimate is itself a kernel, that of a model with S features, of standard error
    √(Var_ω[g_ω(x) g_ω(y)] / S), and differentiable in the inputs where the features are. Draw s
    uses `fold_in(key, s)`: a block's size changes nothing but rounding, and more samples are the
    same ones and others.

    Args:
      features: (ω, x̃) -> g_ω(x), one number for one ω and one input, in JAX.
      key: of the random numbers.
      samples: S ≥ 1.
      x_NxD: inputs, one a row.
      y_MxD: inputs, one a row.
      draw: key -> ω, one draw from Ω, an array or a tree of arrays; N(0, I_d) by default, where d
        is the dimension of x̃.
      bias: b ≥ 0, the constant appended to every input; 0 appends none.
      block: how many draws are held at a time; the memory is N M + block (N + M + the size of ω).

    Returns:
      theta_NxM, in the inputs' precision, at least float32.

    Raises:
      ValueError: if the inputs' shapes do not fit, b is negative, `samples` or `block` is not an
        integer of at least 1, or a feature is not one number.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> from infwidth.kernels import monte_carlo_kernel
      >>> def cosine(omega, x):
      ...     frequency, phase = omega
      ...     return jnp.sqrt(2.0) * jnp.cos(frequency @ x + phase)
      >>> def draw(key):
      ...     keys = jax.random.split(key)
      ...     phase = jax.random.uniform(keys[1], maxval=2 * jnp.pi)
      ...     return jax.random.normal(keys[0], (3,)), phase
      >>> x = jnp.eye(3)
      >>> gaussian = monte_carlo_kernel(cosine, jax.random.key(0), 4000, x, x, draw=draw)
      >>> bool(abs(gaussian[0, 1] - jnp.exp(-1.0)) < 0.05)
      True

    References:
      docs/theory.md, section 3.
    """
    check_count("samples", samples)
    check_count("block", block)
    x_Nxd, y_Mxd = extended_inputs(x_NxD, y_MxD, bias)
    d, dtype = x_Nxd.shape[1], x_Nxd.dtype
    if draw is None:
        draw = partial(jax.random.normal, shape=(d,), dtype=dtype)
    one = jax.eval_shape(
        lambda key, x_d: features(draw(key), x_d), key, jax.ShapeDtypeStruct((d,), dtype)
    )
    if getattr(one, "shape", None) != ():
        raise ValueError(f"features must return one number for one ω and one input; got {one}")
    block = min(block, samples)

    @partial(jax.jit, static_argnums=1)
    def block_sum(first: jax.Array | int, count: int) -> jax.Array:
        keys_S = jax.vmap(jax.random.fold_in, (None, 0))(key, first + jnp.arange(count))
        omega = jax.vmap(draw)(keys_S)
        of_all = jax.vmap(jax.vmap(features, (0, None)), (None, 0))
        g_NxS, g_MxS = of_all(omega, x_Nxd), of_all(omega, y_Mxd)
        return product(g_NxS, g_MxS).astype(dtype)

    def add_block(total_NxM: jax.Array, first: jax.Array) -> tuple[jax.Array, None]:
        return total_NxM + block_sum(first, block), None

    whole = samples // block * block
    total_NxM = jnp.zeros((x_Nxd.shape[0], y_Mxd.shape[0]), dtype)
    total_NxM, _ = jax.lax.scan(add_block, total_NxM, jnp.arange(0, whole, block))
    if whole < samples:
        total_NxM = total_NxM + block_sum(whole, samples - whole)
    return total_NxM / samples
