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
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from infwidth.kernels.arc_cosine import (
    arc_cosine_0,
    arc_cosine_1,
    one_minus_normalized_arc_cosine_1,
)
from infwidth.kernels.inputs import extended_inputs, polar, product, versines

_STATIC = ("hidden_layers", "weight_variance", "bias_variance", "bias")


@partial(jax.jit, static_argnames=_STATIC)
def nngp_kernel(
    x_NxD: jax.typing.ArrayLike,
    y_MxD: jax.typing.ArrayLike,
    *,
    hidden_layers: int,
    weight_variance: float = 2.0,
    bias_variance: float = 0.0,
    bias: float = 0.0,
) -> jax.Array:
    """K^L, the covariance of the outputs of an infinitely wide ReLU network at initialization.

    With one hidden layer, w = 1 and c = 0 it is `relu_kernel`. Values and gradients are accurate
    near x̃ = ±ỹ as `relu_kernel`'s are.

    Args:
      x_NxD: inputs, one a row.
      y_MxD: inputs, one a row.
      hidden_layers: L ≥ 1.
      weight_variance: w > 0; 2 keeps the variance the same in all layers.
      bias_variance: c ≥ 0, of the biases of all layers.
      bias: b ≥ 0, the constant appended to every input; 0 appends none.

    Returns:
      kernel_NxM, in the inputs' precision, at least float32.

    Raises:
      ValueError: if the inputs' shapes do not fit, or a setting is out of its range.

    References:
      Lee et al. (2018), equations (4) to (6); Cho & Saul (2009).
    """
    return _recursion(x_NxD, y_MxD, hidden_layers, weight_variance, bias_variance, bias)[0]


@partial(jax.jit, static_argnames=_STATIC)
def ntk_kernel(
    x_NxD: jax.typing.ArrayLike,
    y_MxD: jax.typing.ArrayLike,
    *,
    hidden_layers: int,
    weight_variance: float = 2.0,
    bias_variance: float = 0.0,
    bias: float = 0.0,
) -> jax.Array:
    """Θ^L, the neural tangent kernel of an infinitely wide ReLU network all of whose layers train.

    It has a cone where x̃ and ỹ are parallel or opposite. At angles (or π minus angles) below 8
    roundings the gradient is given as that of the smooth part, the mean over opposite directions.
    Near there values keep all their digits; gradients are accurate to ε / θ, ε the rounding.

    Args:
      x_NxD: inputs, one a row.
      y_MxD: inputs, one a row.
      hidden_layers: L ≥ 1.
      weight_variance: w > 0; 2 keeps the variance the same in all layers.
      bias_variance: c ≥ 0, of the biases of all layers.
      bias: b ≥ 0, the constant appended to every input; 0 appends none.

    Returns:
      theta_NxM, in the inputs' precision, at least float32.

    Raises:
      ValueError: if the inputs' shapes do not fit, or a setting is out of its range.

    References:
      Jacot et al. (2018), theorem 1.
    """
    return _recursion(x_NxD, y_MxD, hidden_layers, weight_variance, bias_variance, bias)[1]


class _Layer(NamedTuple):
    """The law of (u, v) before a ReLU: standard deviations, and the correlation's distance from ±1.

    Kept so, and not as covariances, because angles between near neighbours are lost in those.
    """

    x_N: jax.Array
    y_M: jax.Array
    minus_NxM: jax.Array
    plus_NxM: jax.Array


def _recursion(
    x_NxD: jax.typing.ArrayLike,
    y_MxD: jax.typing.ArrayLike,
    hidden_layers: int,
    w: float,
    c: float,
    bias: float,
) -> tuple[jax.Array, jax.Array]:
    """K^L and Θ^L."""
    if hidden_layers < 1:
        raise ValueError(f"hidden_layers must be at least 1; got {hidden_layers}")
    if not (math.isfinite(w) and w > 0):
        raise ValueError(f"weight_variance must be finite and positive; got {w}")
    if not (math.isfinite(c) and c >= 0):
        raise ValueError(f"bias_variance must be finite and ≥ 0; got {c}")
    x_Nxd, y_Mxd = extended_inputs(x_NxD, y_MxD, bias)
    # The first layer's biases are one more coordinate, of size √c.
    x_Nxd, y_Mxd = (_first_layer(z, w / z.shape[1], c) for z in (x_Nxd, y_Mxd))
    x_N, u_Nxd = polar(x_Nxd)
    y_M, v_Mxd = polar(y_Mxd)
    layer = _Layer(x_N, y_M, *versines(u_Nxd, v_Mxd))
    k_NxM = theta_NxM = product(x_Nxd, y_Mxd)
    for _ in range(hidden_layers):
        both_active_NxM = arc_cosine_0(layer.minus_NxM, layer.plus_NxM) / (2 * math.pi)
        k_NxM, layer = _next_layer(layer, w, c)
        theta_NxM = k_NxM + w * theta_NxM * both_active_NxM
    return k_NxM, theta_NxM


def _first_layer(x_Nxd: jax.Array, w_over_d: float, c: float) -> jax.Array:
    x_Nxd = x_Nxd * math.sqrt(w_over_d)
    if c == 0:
        return x_Nxd
    return jnp.pad(x_Nxd, ((0, 0), (0, 1)), constant_values=math.sqrt(c))


def _next_layer(layer: _Layer, w: float, c: float) -> tuple[jax.Array, _Layer]:
    """The covariance after one more layer, and the law it belongs to."""
    a_N, a_M = layer.x_N * math.sqrt(w / 2), layer.y_M * math.sqrt(w / 2)
    a_NxM = a_N[:, None] * a_M[None, :]
    k_NxM = a_NxM * arc_cosine_1(layer.minus_NxM, layer.plus_NxM) / math.pi + c
    minus_NxM = one_minus_normalized_arc_cosine_1(layer.minus_NxM, layer.plus_NxM)
    if c == 0:
        return k_NxM, _Layer(a_N, a_M, minus_NxM, 2 - minus_NxM)
    x_N, y_M = (jnp.sqrt(jnp.square(a) + c) for a in (a_N, a_M))
    r_NxM = x_N[:, None] * y_M[None, :]
    # r − c − a = c (a_x − a_y)² / (r + c + a), for r² = (a_x² + c)(a_y² + c) and a = a_x a_y.
    gap_NxM = c * jnp.square(a_N[:, None] - a_M[None, :]) / (r_NxM + c + a_NxM)
    minus_NxM = (gap_NxM + a_NxM * minus_NxM) / r_NxM
    return k_NxM, _Layer(x_N, y_M, minus_NxM, 2 - minus_NxM)
