# SPDX-License-Identifier: Apache-2.0
"""What all kernels do with their arguments: compiling, checks, the appended constant, directions.

Shapes: N and M inputs of dimension D; d = D + 1 with the appended constant, else D.
"""

import math
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np

Number = jax.typing.ArrayLike
"""A hyperparameter: a number, or an array of JAX of shape (), which may be traced."""


def compiled(kernel: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Compiles a kernel: with hyperparameters that are numbers built in, and arrays as arguments.

    So a number is checked and simplifies the program, and an array of JAX can be differentiated,
    mapped, and changed without compiling again. What is no real number is refused.
    """

    @partial(jax.jit, static_argnames="numbers")
    def program(
        x_NxD: jax.typing.ArrayLike,
        y_MxD: jax.typing.ArrayLike,
        arrays: dict[str, jax.Array],
        numbers: tuple[tuple[str, float], ...],
    ) -> jax.Array:
        return kernel(x_NxD, y_MxD, **arrays, **dict(numbers))

    @wraps(kernel)
    def call(
        x_NxD: jax.typing.ArrayLike, y_MxD: jax.typing.ArrayLike, **hyperparameters: Any
    ) -> jax.Array:
        checked = {name: _checked(name, hyperparameters[name]) for name in sorted(hyperparameters)}
        arrays = {name: value for name, value in checked.items() if not is_number(value)}
        numbers = tuple((name, value) for name, value in checked.items() if is_number(value))
        return program(x_NxD, y_MxD, arrays, numbers)

    return call


def is_number(value: Number) -> TypeGuard[float]:
    """Whether a hyperparameter is known when the kernel is compiled."""
    return not isinstance(value, jax.Array)


def _checked(name: str, value: Any) -> float | jax.Array:
    """A hyperparameter as a number of Python or an array of JAX."""
    if is_number(value):
        value = np.asarray(value)
    if value.shape != ():
        raise ValueError(
            f"{name} is one number; got shape {value.shape}: use jax.vmap for several of them"
        )
    if not (jnp.issubdtype(value.dtype, jnp.floating) or jnp.issubdtype(value.dtype, jnp.integer)):
        raise ValueError(f"{name} is a real number; got {value}")
    return value.item() if isinstance(value, np.ndarray) else value


def check_count(name: str, value: int) -> None:
    """Refuses what is no integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name} must be an integer; got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1; got {value}")


def as_type(value: Number, dtype: Any) -> Any:
    """A hyperparameter for arrays of a type; a number is of any."""
    return value if is_number(value) else jnp.asarray(value, dtype)


def extended_inputs(
    x_NxD: jax.typing.ArrayLike, y_MxD: jax.typing.ArrayLike, bias: Number
) -> tuple[jax.Array, jax.Array]:
    """x̃ = (x, b) for both sets of inputs, checked, in float32 or float64.

    x̃ = x if b is the number 0; an array is always appended, for only its shape and type are known.
    """
    x_NxD, y_MxD = jnp.asarray(x_NxD), jnp.asarray(y_MxD)
    if x_NxD.ndim != 2 or y_MxD.ndim != 2:
        raise ValueError(
            f"inputs are matrices, one input a row; got shapes {x_NxD.shape} and {y_MxD.shape}"
        )
    if x_NxD.shape[1] != y_MxD.shape[1]:
        raise ValueError(
            f"inputs differ in dimension: {x_NxD.shape[1]} in x and {y_MxD.shape[1]} in y"
        )
    if x_NxD.shape[1] == 0:
        raise ValueError("inputs have dimension 0")
    if is_number(bias) and not (math.isfinite(bias) and bias >= 0):
        raise ValueError(f"bias is the constant appended to each input, finite and ≥ 0; got {bias}")
    if any(jnp.issubdtype(z.dtype, jnp.complexfloating) for z in (x_NxD, y_MxD)):
        raise ValueError(
            f"inputs are real; got {x_NxD.dtype} and {y_MxD.dtype}: give real and imaginary parts "
            "as coordinates of their own"
        )
    dtype = jnp.result_type(x_NxD, y_MxD)
    if dtype not in (jnp.float32, jnp.float64):
        dtype = jnp.float32
    return _append(x_NxD.astype(dtype), bias), _append(y_MxD.astype(dtype), bias)


def product(x_Nxd: jax.Array, y_Mxd: jax.Array) -> jax.Array:
    """The scalar products, in full precision on every device.

    An accelerator's default for float32 may keep 10 bits, and what is left of an angle between
    near neighbours then is noise.
    """
    return jnp.matmul(x_Nxd, y_Mxd.T, precision=jax.lax.Precision.HIGHEST)


def polar(x_Nxd: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Norms and directions of the rows; no square overflows or underflows.

    A row of zeros has the direction 0, and its norm the gradient 0.
    """
    largest_Nx1 = jax.lax.stop_gradient(jnp.max(jnp.abs(x_Nxd), axis=1, keepdims=True))
    scale_Nx1 = jnp.where(largest_Nx1 == 0, 1, largest_Nx1)
    scaled_Nxd = x_Nxd / scale_Nx1
    square_Nx1 = jnp.sum(jnp.square(scaled_Nxd), axis=1, keepdims=True)
    root_Nx1 = jnp.sqrt(jnp.where(square_Nx1 == 0, 1, square_Nx1))
    norm_N = jnp.where(square_Nx1 == 0, 0, scale_Nx1 * root_Nx1)[:, 0]
    return norm_N, scaled_Nxd / root_Nx1


@jax.custom_jvp
def versines(u_Nxd: jax.Array, w_Mxd: jax.Array) -> tuple[jax.Array, jax.Array]:
    """1 − cos θ and 1 + cos θ for all pairs of unit vectors, from their differences and sums.

    |u − w|² / 2 and |u + w|² / 2 keep all their digits at θ → 0 and θ → π, where the scalar product
    keeps half of θ's. That takes N M d operations outside of a matrix product, row by row: never an
    array (N, M, d). The vectors may be 0.
    """
    w_dxM = w_Mxd.T

    def of_row(u_d: jax.Array) -> tuple[jax.Array, jax.Array]:
        minus_M = jnp.sum(jnp.square(u_d[:, None] - w_dxM), axis=0) / 2
        plus_M = jnp.sum(jnp.square(u_d[:, None] + w_dxM), axis=0) / 2
        return minus_M, plus_M

    return jax.lax.map(of_row, u_Nxd)


@versines.defjvp
def _versines_jvp(primals: tuple, tangents: tuple) -> tuple:
    # Directions move on the sphere, so that their squares have no tangent; no (N, M, d) residuals.
    (u_Nxd, w_Mxd), (u_dot_Nxd, w_dot_Mxd) = primals, tangents
    dot_NxM = product(u_dot_Nxd, w_Mxd) + product(u_Nxd, w_dot_Mxd)
    return versines(u_Nxd, w_Mxd), (-dot_NxM, dot_NxM)


def _append(x_NxD: jax.Array, bias: Number) -> jax.Array:
    if not is_number(bias):
        # JAX 0.10.2 cannot differentiate `jnp.pad` in the constant alone.
        bias_Nx1 = jnp.broadcast_to(jnp.asarray(bias, x_NxD.dtype), (x_NxD.shape[0], 1))
        return jnp.concatenate([x_NxD, bias_Nx1], axis=1)
    if bias == 0:
        return x_NxD
    return jnp.pad(x_NxD, ((0, 0), (0, 1)), constant_values=bias)
