# SPDX-License-Identifier: Apache-2.0
"""The variant's optimizer: which rule moves which group of parameters, and how far.

Parameters come in three groups: `trunk` (all that is outside the MLPs), `features` (ω, leaves of
shape H×d with d = D+1) and `readout` (M, leaves of shape H×E). A group that does not train has no
transformation, hence neither optimizer state nor a part in any norm.
"""

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from infwidth.config.settings import TrainingSettings
from infwidth.config.variants import CODE_OF_WORD, Variant
from infwidth.optim.functional import clip_by_functional_norm, scale_by_width


class Hyperparameters(NamedTuple):
    """What differs between the runs of one compiled program; float32 scalars, never Python numbers.

    A Python number would be compiled in, and every learning rate would cost a compilation.
    """

    trunk: jax.Array
    """Adam's peak rate outside the MLPs."""
    readout: jax.Array
    """M's peak rate; for SGD the tuned rate times `sgd_unit` of the first batch."""
    kappa: jax.Array
    """κ, the features' rate in units of √d times the trunk's."""


def group_transforms(
    variant: Variant, training: TrainingSettings
) -> dict[str, optax.GradientTransformation]:
    """The transformation of each group that trains, without its learning rate.

    The trunk's gradient is clipped by its global norm; gradients of features and readout are first
    multiplied by H, then clipped layer by layer in the functional norm, so that neither clipping
    nor ε depends on the width.

    Args:
      variant: Which rules train features and readout.
      training: β1, β2, ε and the clipping norm (`clip_norm`; None clips nothing).

    Returns:
      A dict with `trunk`, and with `features` and `readout` where the variant trains them.

    Raises:
      ValueError: The variant names a rule that does not exist.

    Reference:
      docs/theory.md, sections 2 and 8.
    """
    trunk = _rule(training.trunk_optimizer, training)
    transforms = {"trunk": optax.chain(_trunk_clip(training), trunk)}
    if variant.features == "adam":
        transforms["features"] = _functional("adam", training)
    if variant.readout != "none":
        transforms["readout"] = _functional(variant.readout, training)
    return transforms


def learning_rates(
    hyperparameters: Hyperparameters, schedule_value: jax.Array, d: int
) -> dict[str, jax.Array]:
    """The step size of each group.

    Args:
      hyperparameters: The peak rates and κ.
      schedule_value: The schedule's value at this step, in [0, 1].
      d: The dimension of a feature's input, D+1.

    Returns:
      Scalars by group: η for the trunk, η_readout for the readout, κ√d η for the features, each
      times the schedule's value.

    Reference:
      docs/theory.md, section 11.
    """
    trunk = hyperparameters.trunk * schedule_value
    return {
        "trunk": trunk,
        "features": hyperparameters.kappa * math.sqrt(d) * trunk,
        "readout": hyperparameters.readout * schedule_value,
    }


def schedule(training: TrainingSettings) -> Callable[[jax.typing.ArrayLike], jax.Array]:
    """Linear warm-up from 0 to 1, then a cosine to the final fraction.

    Args:
      training: `steps`, `warmup_steps` and `final_fraction`.

    Returns:
      A function from the number of steps already taken to a scalar in [0, 1]; 0 for the first step
      of a run with warm-up, `final_fraction` at `steps`.
    """
    curve = optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=1.0,
        warmup_steps=training.warmup_steps,
        decay_steps=training.steps,
        end_value=training.final_fraction,
    )

    def value(step: jax.typing.ArrayLike) -> jax.Array:
        return jnp.asarray(curve(jnp.asarray(step, float)), float)

    return value


def sgd_unit(functional_gradients: Any) -> jax.Array:
    """The rate at which SGD's first step has rms 1, as the first steps of Adam and ADAM* have.

    Args:
      functional_gradients: H ∂L/∂M of the first batch, one leaf a readout.

    Returns:
      1 / √(mean of G² over all entries of all readouts), a scalar.

    Reference:
      docs/theory.md, section 11.
    """
    leaves = jax.tree.leaves(functional_gradients)
    total = sum(jnp.sum(jnp.square(leaf)) for leaf in leaves)
    return jnp.sqrt(sum(leaf.size for leaf in leaves) / total)


def _functional(rule: str, training: TrainingSettings) -> optax.GradientTransformation:
    clip = (
        optax.identity()
        if training.clip_norm is None
        else clip_by_functional_norm(training.clip_norm)
    )
    return optax.chain(scale_by_width(), clip, _rule(rule, training))


def _trunk_clip(training: TrainingSettings) -> optax.GradientTransformation:
    if training.clip_norm is None:
        return optax.identity()
    return optax.clip_by_global_norm(training.clip_norm)


def _rule(name: str, training: TrainingSettings) -> optax.GradientTransformation:
    if name in ("adam", "nadam"):
        moments = (training.b1, training.b2, training.eps)
        return _standard_promotion(optax.scale_by_adam(*moments, nesterov=name == "nadam"))
    if name == "sgd":
        return optax.identity()
    if name == "momentum":
        return optax.trace(decay=training.b1)
    if name == "adam_star":
        from infwidth.optim.adam_star import scale_by_adam_star

        return scale_by_adam_star(training.b1, training.b2, training.eps)
    # Found by its word, so that a new rule leaves this module, and with it all other runs, alone.
    if name not in CODE_OF_WORD:
        raise ValueError(f"no rule is named {name!r}: CODE_OF_WORD does not say where it is")
    return getattr(import_module(CODE_OF_WORD[name]), name)(training)


def _standard_promotion(
    transform: optax.GradientTransformation,
) -> optax.GradientTransformation:
    """Lets optax raise a Python float to an int32 count where this project promotes strictly."""

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return transform.update(updates, state, params)

    return optax.GradientTransformation(transform.init, update)
