# SPDX-License-Identifier: Apache-2.0
"""Running moments of gradients, and the root of a Gram matrix: what rules are made of.

Shapes, for a leaf of shape (H, E) with width axis 0: H units, E everything else.
"""

from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from infwidth.optim.axes import LeafAxes, WidthAxis, leaf_axes


def product(a: jax.Array, b: jax.Array) -> jax.Array:
    """The matrix product in full precision on every device."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


SecondMoment = Literal["per_output", "global", "factored", "error"]
"""What the second moment depends on: the output; nothing; the output times the unit; the output's
errors alone."""


class FactoredMoment(NamedTuple):
    """The means of |g|² that a factored second moment is made of."""

    width_H: jax.Array
    """Mean over the outputs, shape (H,)."""
    output_E: jax.Array
    """Mean over the width axis, the leaf's shape without it."""


def check_second_moment(name: str) -> None:
    """Raises ValueError where there is no such second moment."""
    if name not in get_args(SecondMoment):
        known = ", ".join(get_args(SecondMoment))
        raise ValueError(f"second_moment must be one of {known}, not {name!r}")


def zero_squares(second_moment: SecondMoment, params: Any, width_axis: WidthAxis) -> Any:
    """A second moment before the first gradient, of the shapes and types of `squares`."""
    # Errors have one square for each output, as gradients have per output. Zeros like what an
    # update returns lie on the devices on which that lies.
    like: SecondMoment = "per_output" if second_moment == "error" else second_moment
    return jax.tree.map(jnp.zeros_like, squares(like, params, width_axis))


def squares(
    second_moment: SecondMoment,
    updates: Any,
    width_axis: WidthAxis,
    nu: Any = None,
    squared_errors: Any = None,
) -> Any:
    """The shared squared gradient, in float32 at least; of `error`, Σ_i |δ_ie|² as it was given.

    `nu`, the second moment so far, says which shapes those of the errors must have.
    """
    if second_moment != "error":
        axes = leaf_axes(width_axis, updates)
        return jax.tree.map(lambda g, own: _shared(second_moment, g, own), updates, axes)
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (squared_errors, nu)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            'second_moment="error" needs update(..., squared_errors=Σ δ²), of the shapes '
            f"{shapes[1]}, not {shapes[0]}"
        )
    return jax.tree.map(wide, squared_errors)


def _shared(second_moment: SecondMoment, g: jax.Array, axes: LeafAxes) -> Any:
    square = squared(g)
    if second_moment == "per_output":
        return jnp.mean(square, axes.width)
    if second_moment == "global":
        return jnp.mean(square, tuple(sorted((axes.width, *axes.outputs))))
    return FactoredMoment(jnp.mean(square, axes.outputs), jnp.mean(square, axes.width))


def divided(
    m: Any,
    v: Any,
    eps: jax.typing.ArrayLike,
    width_axis: WidthAxis,
    eps_root: jax.typing.ArrayLike = 0.0,
) -> Any:
    """m / (√(v + ε_root) + ε), with v spread along the width; 0 where all of that is 0."""

    def divide(m: jax.Array, v: Any, axes: LeafAxes) -> jax.Array:
        v = _spread(v, axes)
        if not (isinstance(eps_root, int | float) and eps_root == 0):
            v = v + number(eps_root, v.dtype)
        size = root(v) + number(eps, v.dtype)
        m = wide(m)
        return m / jnp.where(size == 0, 1, size).astype(m.dtype)

    return jax.tree.map(divide, m, v, leaf_axes(width_axis, m))


def _spread(v: Any, axes: LeafAxes) -> jax.Array:
    """The second moment, of a shape that broadcasts to its leaf."""
    if not isinstance(v, FactoredMoment):
        per_output = v.ndim == len(axes.layers) + len(axes.outputs)
        missing = axes.width if per_output else tuple(sorted((axes.width, *axes.outputs)))
        return jnp.expand_dims(v, missing)
    share = relative(v.width_H, axes)
    return jnp.expand_dims(share, axes.outputs) * jnp.expand_dims(v.output_E, axes.width)


def relative(r_H: jax.Array, axes: LeafAxes, unseen: float = 0.0) -> jax.Array:
    """r / mean r over the units of each layer; `unseen` where all of them are 0."""
    place = sorted((axes.width, *axes.layers)).index(axes.width)
    mean = jnp.mean(r_H, place, keepdims=True)
    return jnp.where(mean == 0, unseen, r_H / jnp.where(mean == 0, 1, mean))


def running_mean(new: Any, old: Any, decay: jax.typing.ArrayLike) -> Any:
    """(1 − decay) new + decay old, in the type of the new and in float32 at least."""

    def mix(fresh: jax.Array, kept: jax.Array) -> jax.Array:
        fresh = wide(fresh)
        weight = number(decay, fresh.dtype)
        return (1 - weight) * fresh + weight * kept.astype(fresh.dtype)

    return jax.tree.map(mix, new, old)


def unbiased(moment: Any, decay: jax.typing.ArrayLike, count: jax.Array) -> Any:
    """A running mean from 0 over `count` steps, divided by the sum of its weights."""
    # In the default float type, since decay**count rounds to 1 in bfloat16.
    steps = count.astype(float)
    correction = 1 - jnp.asarray(decay, steps.dtype) ** steps
    return jax.tree.map(lambda leaf: leaf / correction.astype(leaf.dtype), moment)


def squared(g: jax.Array) -> jax.Array:
    """|g|², real and in float32 at least."""
    g = wide(g)
    if jnp.iscomplexobj(g):
        return jnp.square(g.real) + jnp.square(g.imag)
    return jnp.square(g)


def root(x: jax.Array) -> jax.Array:
    """√x, whose gradient at 0 is given as 0."""
    nothing = x == 0
    return jnp.where(nothing, 0, jnp.sqrt(jnp.where(nothing, 1, x)))


def power_of_two(x: jax.Array) -> jax.Array:
    """What to multiply x by, exactly, where its squares would overflow or vanish; elsewhere 1."""
    largest = jnp.max(jnp.abs(jax.lax.stop_gradient(x)), initial=0)
    exponent = jnp.clip(jnp.frexp(largest)[1], -120, 120)
    extreme = (jnp.abs(exponent) > 40) & (largest > 0) & jnp.isfinite(largest)
    return jnp.ldexp(jnp.ones_like(largest), jnp.where(extreme, -exponent, 0)).astype(x.dtype)


def number(value: jax.typing.ArrayLike, dtype: Any) -> Any:
    """A Python number stays one, so that constants are rounded once, as optax rounds them."""
    return value if isinstance(value, int | float) else jnp.asarray(value, dtype)


def wide(x: jax.Array) -> jax.Array:
    """x in float32 at least."""
    return x.astype(jnp.float32) if jnp.finfo(x.dtype).bits < 32 else x


def inverse_root(gram_ExE: jax.Array, eps: jax.typing.ArrayLike) -> jax.Array:
    """(S + ε (tr S / E) I)^{-1/2}, by an eigendecomposition; 0 where S is 0.

    S is positive semi-definite up to rounding: negative eigenvalues are taken for 0. The derivative
    is finite where eigenvalues coincide, too, unlike that of the decomposition.
    """
    return _inverse_root(gram_ExE, jnp.asarray(eps, gram_ExE.real.dtype))


@jax.custom_jvp
def _inverse_root(gram_ExE: jax.Array, eps: jax.Array) -> jax.Array:
    root_E, vector_ExE = _decomposed(gram_ExE, eps)
    return product(vector_ExE * root_E[None, :], vector_ExE.conj().T)


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
    inside_ExE = product(vector_ExE.conj().T, product(moved_ExE, vector_ExE))
    sum_ExE = root_E[:, None] + root_E[None, :]
    weight_ExE = jnp.square(root_E[:, None] * root_E[None, :]) / jnp.where(sum_ExE == 0, 1, sum_ExE)
    outside_ExE = product(vector_ExE, product(-weight_ExE * inside_ExE, vector_ExE.conj().T))
    return product(vector_ExE * root_E[None, :], vector_ExE.conj().T), outside_ExE
