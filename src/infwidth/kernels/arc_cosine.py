# SPDX-License-Identifier: Apache-2.0
"""Arc-cosine functions of a correlation that is known by its distances from 1 and from −1.

With ρ = cos θ an arc cosine has infinite slope at ρ = ±1, where a rounding error ε of ρ moves θ by
√ε, and differentiation by machine multiplies 0 by ∞. Here an angle is given as `minus` = 1 − ρ and
`plus` = 1 + ρ, so that whoever knows these to all their digits loses none, and derivatives are
written out.

All functions are elementwise, in float32 and float64, and hold to rounding. An argument that
rounding made negative counts as 0.
"""

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

TERMS = 64
"""Terms of the Taylor series of `_scaled_arc`, which fall like 2^−k on [0, 1]."""

DEGREE = {np.dtype(np.float32): 7, np.dtype(np.float64): 18}
"""Degree of the polynomial that replaces the series: an error of 1.8e-8 and of 2e-17 at most."""


def arc_cosine_0(minus: jax.Array, plus: jax.Array) -> jax.Array:
    """π − θ = 2π P(u > 0, w > 0) for standard normal u and w of correlation ρ = cos θ.

    The arc-cosine function of degree 0 (Cho & Saul 2009, equation (4)). Its derivative in ρ is
    1 / sin θ, and is given as 0 where θ or π − θ is below 8 roundings: the mean over opposite
    directions, for as a function of two vectors it has a cone there.
    """
    obtuse = plus < minus
    acute_angle = _arc(jnp.where(obtuse, plus, minus))
    return jnp.where(obtuse, acute_angle, math.pi - acute_angle)


def arc_cosine_1(minus: jax.Array, plus: jax.Array) -> jax.Array:
    """sin θ + (π − θ) cos θ = 2π E[relu(u) relu(w)], the arc-cosine function of degree 1.

    Its derivative in ρ is `arc_cosine_0`. It is accurate relative to itself towards θ = π, where it
    falls to 0 like (π − θ)³ / 3. See docs/theory.md, equation (5).
    """
    obtuse = plus < minus
    linear = jnp.where(obtuse, jnp.zeros_like(minus), math.pi - math.pi * minus)
    return linear + _arc_integral(jnp.where(obtuse, plus, minus))


def one_minus_normalized_arc_cosine_1(minus: jax.Array, plus: jax.Array) -> jax.Array:
    """1 − arc_cosine_1 / π, without cancellation as θ → 0: the `minus` of the next layer.

    For arc_cosine_1 / π is the correlation of relu(u) and relu(w) about 0.
    """
    obtuse = plus < minus
    linear = jnp.where(obtuse, jnp.ones_like(minus), minus)
    return linear - _arc_integral(jnp.where(obtuse, plus, minus)) / math.pi


@jax.custom_jvp
def _arc_integral(t: jax.Array) -> jax.Array:
    """∫_0^t arccos(1 − τ) dτ = sin α − α cos α at cos α = 1 − t, for t in [0, 1]."""
    coefficients = [c / (k + 1.5) for k, c in enumerate(_coefficients(DEGREE[t.dtype]))]
    t = jnp.maximum(t, 0)
    return t * jnp.sqrt(2 * t) * _polynomial(coefficients, t)


@_arc_integral.defjvp
def _arc_integral_jvp(primals: tuple, tangents: tuple) -> tuple:
    (t,), (t_dot,) = primals, tangents
    return _arc_integral(t), _arc(t) * t_dot


@jax.custom_jvp
def _arc(t: jax.Array) -> jax.Array:
    """arccos(1 − t) for t in [0, 1]."""
    t = jnp.maximum(t, 0)
    return jnp.sqrt(2 * t) * _polynomial(_coefficients(DEGREE[t.dtype]), t)


@_arc.defjvp
def _arc_jvp(primals: tuple, tangents: tuple) -> tuple:
    (t,), (t_dot,) = primals, tangents
    # Copies of a vector that were computed apart differ by some roundings, in a random direction.
    resolved = t > 32 * float(jnp.finfo(t.dtype).eps) ** 2
    slope = jnp.where(resolved, jax.lax.rsqrt(jnp.where(resolved, t * (2 - t), 1)), 0)
    return _arc(t), slope * t_dot


def _polynomial(coefficients: list[float] | tuple[float, ...], t: jax.Array) -> jax.Array:
    value = jnp.full_like(t, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * t + coefficient
    return value


@cache
def _coefficients(degree: int) -> tuple[float, ...]:
    """Polynomial for arccos(1 − t) / √(2t) on [0, 1]: its Chebyshev series, cut at `degree`.

    With t = 2z², the function is arcsin(z) / z = Σ_k a_k t^k, a_k = C(2k, k) / (8^k (2k + 1)), and
    t^k = 4^−k Σ_j (2 − [j = 0]) C(2k, k − j) T_j(2t − 1). All terms are positive, so that every
    Chebyshev coefficient has all its digits, and so has what is made of them.
    """
    chebyshev = [
        sum(
            math.comb(2 * k, k) * math.comb(2 * k, k - j) / (32**k * (2 * k + 1))
            for k in range(j, TERMS)
        )
        * (2 if j else 1)
        for j in range(degree + 1)
    ]
    series = np.polynomial.Chebyshev(chebyshev, domain=[0, 1])
    return tuple(series.convert(kind=np.polynomial.Polynomial).coef.tolist())
