# SPDX-License-Identifier: Apache-2.0
"""Kernels of deep ReLU networks at infinite width: of their outputs at the start, and of training.

A network of L hidden layers with weights N(0, 1) and biases N(0, 1), w and c standing for the
variances of weights and biases,

    z⁰ = √(w/d) W⁰x̃ + √c β⁰,   zˡ = √(w/Hˡ) Wˡ relu(zˡ⁻¹) + √c βˡ,   l = 1 … L

has, as all Hˡ → ∞, independent Gaussian outputs z^L of covariance K^L, and (in function space) the
tangent kernel Θ^L of all its weights and biases:

    K⁰ = Θ⁰ = w x̃·ỹ/d + c
    Kˡ = w E[relu(u) relu(v)] + c,   Θˡ = Kˡ + w Θˡ⁻¹ P(u > 0, v > 0),   (u, v) ~ N(0, Kˡ⁻¹)

Shapes: N and M inputs of dimension D; x̃ = (x, b), d = D + 1, where b > 0, else x̃ = x, d = D.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from infwidth.kernels.arc_cosine import (
    arc_cosine_0,
    arc_cosine_1,
    one_minus_normalized_arc_cosine_1,
)
from infwidth.kernels.inputs import (
    Number,
    as_type,
    compiled,
    extended_inputs,
    is_number,
    polar,
    product,
    versines,
)


@compiled
def nngp_kernel(
    x_NxD: jax.typing.ArrayLike,
    y_MxD: jax.typing.ArrayLike,
    *,
    hidden_layers: int,
    weight_variance: Number = 2.0,
    bias_variance: Number = 0.0,
    bias: Number = 0.0,
) -> jax.Array:
    """K^L, the covariance of the outputs of an infinitely wide ReLU network at initialization.

    With one hidden layer, w = 1 and c = 0 it is `relu_kernel`. Values and gradients are accurate
    near x̃ = ±ỹ as `relu_kernel`'s are.

    Args:
      x_NxD: inputs, one a row.
      y_MxD: inputs, one a row.
      hidden_layers: L ≥ 1, the only hyperparameter that may be no array.
      weight_variance: w > 0; 2 keeps the variance the same in all layers.
      bias_variance: c ≥ 0, of the biases of all layers.
      bias: b ≥ 0, the constant appended to every input; the number 0 appends none, an array always
        one.

    Returns:
      kernel_NxM, in the inputs' precision, at least float32.

    Raises:
      ValueError: if the inputs' shapes do not fit, they are complex, or a hyperparameter is out of
        its range.

    References:
      Lee et al. (2018), equations (4) to (6); Cho & Saul (2009).
    """
    return _recursion(x_NxD, y_MxD, hidden_layers, weight_variance, bias_variance, bias)[0]


@compiled
def ntk_kernel(
    x_NxD: jax.typing.ArrayLike,
    y_MxD: jax.typing.ArrayLike,
    *,
    hidden_layers: int,
    weight_variance: Number = 2.0,
    bias_variance: Number = 0.0,
    bias: Number = 0.0,
) -> jax.Array:
    """Θ^L, the neural tangent kernel of an infinitely wide ReLU network all of whose layers train.

    It has a cone where x̃ and ỹ are parallel or opposite. At angles (or π minus angles) below 8
    roundings the gradient is given as that of the smooth part, the mean over opposite directions.
    Near there values keep all their digits; gradients are accurate to ε / θ, ε the rounding.

    Arguments and errors are those of `nngp_kernel`.

    Returns:
      theta_NxM, in the inputs' precision, at least float32.

    References:
      Jacot et al. (2018), theorem 1.
    """
    return _recursion(x_NxD, y_MxD, hidden_layers, weight_variance, bias_variance, bias)[1]


class _Layer(NamedTuple):
    """The law of (u, v) before a ReLU: standard deviations, and the correlation's distance from ±1.

    Not covariances, in which angles between near neighbours are lost.
    """

    x_N: jax.Array
    y_M: jax.Array
    minus_NxM: jax.Array
    plus_NxM: jax.Array


def _recursion(
    x_NxD: jax.typing.ArrayLike,
    y_MxD: jax.typing.ArrayLike,
    hidden_layers: int,
    w: Number,
    c: Number,
    bias: Number,
) -> tuple[jax.Array, jax.Array]:
    """K^L and Θ^L."""
    if not (isinstance(hidden_layers, int) and hidden_layers >= 1):
        raise ValueError(f"hidden_layers must be an integer of at least 1; got {hidden_layers}")
    if is_number(w) and not (math.isfinite(w) and w > 0):
        raise ValueError(f"weight_variance must be finite and positive; got {w}")
    if is_number(c) and not (math.isfinite(c) and c >= 0):
        raise ValueError(f"bias_variance must be finite and ≥ 0; got {c}")
    x_Nxd, y_Mxd = extended_inputs(x_NxD, y_MxD, bias)
    w, c = as_type(w, x_Nxd.dtype), as_type(c, x_Nxd.dtype)
    x_Nxd, y_Mxd = (z * _root(w / z.shape[1]) for z in (x_Nxd, y_Mxd))
    x_N, u_Nxd = polar(x_Nxd)
    y_M, v_Mxd = polar(y_Mxd)
    layer = _with_biases(_Layer(x_N, y_M, *versines(u_Nxd, v_Mxd)), c)
    k_NxM = theta_NxM = product(x_Nxd, y_Mxd) + c
    for _ in range(hidden_layers):
        both_active_NxM = arc_cosine_0(layer.minus_NxM, layer.plus_NxM) / (2 * math.pi)
        k_NxM, layer = _next_layer(layer, w, c)
        theta_NxM = k_NxM + w * theta_NxM * both_active_NxM
    return k_NxM, theta_NxM


def _root(value: Any) -> Any:
    return math.sqrt(value) if is_number(value) else jnp.sqrt(value)


def _next_layer(layer: _Layer, w: Any, c: Any) -> tuple[jax.Array, _Layer]:
    """The covariance after one more layer, and the law it belongs to."""
    a_N, a_M = layer.x_N * _root(w / 2), layer.y_M * _root(w / 2)
    k_NxM = a_N[:, None] * a_M[None, :] * arc_cosine_1(layer.minus_NxM, layer.plus_NxM) / math.pi
    minus_NxM = one_minus_normalized_arc_cosine_1(layer.minus_NxM, layer.plus_NxM)
    return k_NxM + c, _with_biases(_Layer(a_N, a_M, minus_NxM, 2 - minus_NxM), c)


def _with_biases(layer: _Layer, c: Any) -> _Layer:
    """The law of u + √c β and v + √c β, β ~ N(0, 1): of vectors with one more coordinate, √c."""
    if is_number(c) and c == 0:
        return layer
    (x_N, a_N, i_N), (y_M, a_M, i_M) = (_extended(norm, c) for norm in (layer.x_N, layer.y_M))
    # The coordinate turns the vectors by angles of cosines a, a' and sines √c i, √c i'. One minus
    # the cosine of the difference of these angles, by the square of its sine: nothing cancels.
    a_NxM, c_NxM = a_N[:, None] * a_M[None, :], c * i_N[:, None] * i_M[None, :]
    left_NxM, right_NxM = a_N[:, None] * i_M[None, :], i_N[:, None] * a_M[None, :]
    difference_NxM, sum_NxM = left_NxM - right_NxM, left_NxM + right_NxM
    apart_NxM = c * difference_NxM * difference_NxM / (1 + a_NxM + c_NxM)
    minus_NxM = apart_NxM + a_NxM * layer.minus_NxM
    # The like of their sum, where the vectors may still be next to opposite.
    may_NxM = a_NxM > c_NxM
    apart_NxM = c * sum_NxM * sum_NxM / jnp.where(may_NxM, 1 + a_NxM - c_NxM, 1)
    plus_NxM = jnp.where(may_NxM, apart_NxM + a_NxM * layer.plus_NxM, 2 - minus_NxM)
    return _Layer(x_N, y_M, minus_NxM, plus_NxM)


def _extended(norm_N: jax.Array, c: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The norm of (z, √c), |z| over it, and 1 over it; no square leaves the range of the type."""
    scale_N = jax.lax.stop_gradient(jnp.maximum(norm_N, _root(c)))
    inverse_N = 1 / jnp.where(scale_N == 0, 1, scale_N)
    square_N = jnp.square(norm_N * inverse_N) + c * inverse_N * inverse_N
    root_N = jnp.sqrt(jnp.where(scale_N == 0, 1, square_N))
    inverse_N = inverse_N / root_N
    return scale_N * root_N, norm_N * inverse_N, inverse_N
