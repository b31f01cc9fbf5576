# SPDX-License-Identifier: Apache-2.0
"""A functional gradient at infinite width, its moments, and the transformations of it.

With infinitely many units no gradient can be held entry by entry. That of a batch,
G_ω = Σ_k δ_k g_ω(x_k), is held by its coefficients δ, and its mean squares follow from the kernel.

Shapes: N examples in the data set, K of them in a batch, E outputs.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from infwidth.optim.moments import product, root

Number = jax.typing.ArrayLike

SecondMoment = Literal["per_output", "global", "error"]
"""What the second moment is the running mean of: E_ω[G²], its mean over outputs, or Σ_i δ_i²."""

_NOT_KEPT = {
    "factored": "it differs from unit to unit, which leaves the kernel for one that moves",
    "elementwise": "it differs from unit to unit, which no kernel describes",
}


class FunctionalGradient(NamedTuple):
    """G_ω = Σ_k δ_k g_ω(x_k), the functional gradient of a batch (docs/theory.md, equation (3))."""

    delta_KxE: jax.Array
    """∂L/∂f(x_k), of each slot of the batch; an example that stands there twice adds up."""
    index_K: jax.Array
    """Which example of the data set stands in each slot, integers."""
    theta_KxK: jax.Array
    """Θ(x_k, x_l), the Gram matrix of the batch."""
    theta_KxN: jax.Array | None = None
    """Θ(x_k, x_i), of the batch with the whole data set, which Muon* asks for."""

    def mean_square(self) -> jax.Array:
        """E_ω[G_ω²] = Σ_kl δ_k δ_l Θ(x_k, x_l) of each output, shape (E,)."""
        return _quadratic_form(self.theta_KxK, self.delta_KxE)

    def squared_error(self) -> jax.Array:
        """Σ_i δ_i² over the examples of the batch, shape (E,); repeats add up before the square."""
        same_KxK = self.index_K[:, None] == self.index_K[None, :]
        return _quadratic_form(same_KxK.astype(self.delta_KxE.dtype), self.delta_KxE)

    def scaled(self, factor: jax.Array) -> "FunctionalGradient":
        """The gradient times a number, or times one number for each output, shape (E,)."""
        factor_1xE = jnp.broadcast_to(factor, self.delta_KxE.shape[1:])[None, :]
        return self._replace(delta_KxE=self.delta_KxE * factor_1xE)


def _quadratic_form(matrix_KxK: jax.Array, delta_KxE: jax.Array) -> jax.Array:
    """The form of a positive semi-definite matrix, which only rounding can make negative."""
    return jnp.maximum(jnp.sum(delta_KxE * product(matrix_KxK, delta_KxE), axis=0), 0)


Updates = FunctionalGradient | jax.Array
"""A batch's functional gradient, or coefficients of the whole data set, shape (N, E)."""


class KernelTransformation(NamedTuple):
    """A transformation of updates that stay in the span of the features seen.

    It is used as an `optax.GradientTransformation` is, and is none: what optax does to an array
    entry by entry means nothing to coefficients.
    """

    init: Callable[[jax.Array], Any]
    """From coefficients, shape (N, E), to a state."""
    update: Callable[..., tuple[Updates, Any]]
    """(updates, state, coefficients) -> (updates, state); the last may be left out as in optax."""


def chain(*transformations: KernelTransformation) -> KernelTransformation:
    """Applies transformations of this package in turn, as `optax.chain` does.

    Returns:
      The transformation whose state is the tuple of theirs.

    Raises:
      ValueError: one is not of this package, such as an optax transformation.

    Examples:
      >>> import jax.numpy as jnp
      >>> from infwidth import infinite
      >>> solver = infinite.chain(infinite.clip_by_functional_norm(1.0), infinite.sgd(0.5))
      >>> c_NxE = jnp.zeros((3, 1))
      >>> gradient = infinite.FunctionalGradient(  # of two examples, one of them twice
      ...     jnp.array([[0.2], [0.2], [0.4]]), jnp.array([2, 2, 0]), jnp.ones((3, 3)))
      >>> updates, _ = solver.update(gradient, solver.init(c_NxE), c_NxE)
      >>> print(infinite.apply_updates(c_NxE, updates).ravel())
      [-0.2  0.  -0.2]
    """
    for place, transformation in enumerate(transformations):
        if not isinstance(transformation, KernelTransformation):
            raise ValueError(
                f"chain's argument {place} is a {type(transformation).__name__}, which acts on "
                "the entries of an array; at infinite width use its namesake in infwidth.infinite, "
                "if the rule keeps the kernel"
            )

    def init(c_NxE: jax.Array) -> tuple:
        return tuple(transformation.init(c_NxE) for transformation in transformations)

    def update(updates: Updates, state: tuple, c_NxE: jax.Array | None = None) -> tuple:
        new_state = []
        for transformation, old in zip(transformations, state, strict=True):
            updates, new = transformation.update(updates, old, c_NxE)
            new_state.append(new)
        return updates, tuple(new_state)

    return KernelTransformation(init, update)


def apply_updates(c_NxE: jax.Array, updates: Updates) -> jax.Array:
    """Adds what a transformation returned to coefficients, as `optax.apply_updates` does."""
    return c_NxE + over_data(updates, c_NxE)


def over_data(updates: Updates, like_NxE: jax.Array) -> jax.Array:
    """Updates of either form as coefficients of the whole data set, of shape and type of a like."""
    if isinstance(updates, FunctionalGradient):
        zeros_NxE = jnp.zeros_like(like_NxE)
        return zeros_NxE.at[updates.index_K].add(updates.delta_KxE.astype(like_NxE.dtype))
    return updates


def of_batch(updates: Updates, asked_by: str) -> FunctionalGradient:
    """The updates, where only the gradient of a batch will do.

    Raises:
      ValueError: they are no longer that; the line names who asked.
    """
    if not isinstance(updates, FunctionalGradient):
        raise ValueError(
            f"{asked_by} needs the gradient of the batch; put it before the transformations that "
            "add up batches (scale_by_adam_star, trace, add_decayed_weights)"
        )
    return updates


def check_second_moment(name: str) -> None:
    """Raises ValueError where a second moment is unknown, or leaves the kernel."""
    if name in _NOT_KEPT:
        raise ValueError(f"second_moment {name!r} has no kernel form: {_NOT_KEPT[name]}")
    if name not in get_args(SecondMoment):
        known = ", ".join(get_args(SecondMoment))
        raise ValueError(f"second_moment must be one of {known}, not {name!r}")


def zero_moment(second_moment: SecondMoment, c_NxE: jax.Array) -> jax.Array:
    """A second moment before the first gradient, of the shape of `observed`."""
    return jnp.zeros(() if second_moment == "global" else c_NxE.shape[1:], c_NxE.dtype)


def observed(second_moment: SecondMoment, gradient: FunctionalGradient) -> jax.Array:
    """What of a gradient the second moment is the mean of: shape (E,), or a scalar."""
    if second_moment == "error":
        return gradient.squared_error()
    square_E = gradient.mean_square()
    return jnp.mean(square_E) if second_moment == "global" else square_E


def running_mean(fresh: jax.Array, kept: jax.Array, decay: Number) -> jax.Array:
    """(1 − decay) fresh + decay kept, in the type of what is kept."""
    weight = as_type_of(decay, kept)
    return (1 - weight) * fresh.astype(kept.dtype) + weight * kept


def unbiased(moment: jax.Array, decay: Number, count: jax.Array) -> jax.Array:
    """A running mean from 0 over `count` steps, divided by the sum of its weights."""
    return moment / (1 - as_type_of(decay, moment) ** count.astype(moment.dtype))


def size(v: jax.Array, eps: Number, eps_root: Number = 0.0) -> jax.Array:
    """√(v + ε_root) + ε, what a gradient is divided by; 1 where that is 0, as the gradient is."""
    if not (isinstance(eps_root, int | float) and eps_root == 0):
        v = v + as_type_of(eps_root, v)
    divisor = root(v) + as_type_of(eps, v)
    return jnp.where(divisor == 0, 1, divisor)


def as_type_of(value: Number, like: jax.Array) -> jax.Array:
    """A number as an array of the type of another."""
    return jnp.asarray(value, like.dtype)
