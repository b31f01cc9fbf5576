# SPDX-License-Identifier: Apache-2.0
"""The variant's optimizer: which rule moves which group of parameters, and how far.

Parameters come in three groups: `trunk` (all that is outside the MLPs), `features` (ω, leaves of
shape H×d with d = D+1) and `readout` (M, leaves of shape H×E). A group that does not train has no
transformation, hence neither optimizer state nor a part in any norm.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from infwidth.config.errors import UserError
from infwidth.config.settings import TrainingSettings
from infwidth.config.variants import Readout, Variant
from infwidth.optim.adam_star import scale_by_adam_star
from infwidth.optim.functional import clip_by_functional_norm, scale_by_width
from infwidth.optim.measured_scales import on_measured_scales
from infwidth.optim.star_rules import scale_by_adagrad_star, scale_by_muon_star, scale_by_rms_star


class Hyperparameters(NamedTuple):
    """What differs between the runs of one compiled program; float32 scalars, never Python numbers.

    A Python number would be compiled in, and every learning rate would cost a compilation.
    """

    trunk: jax.Array
    """Adam's peak rate outside the MLPs."""
    readout: jax.Array
    """M's peak rate; for SGD the tuned rate times `sgd_unit`."""
    kappa: jax.Array
    """κ, the features' rate in units of √d times the trunk's."""


def group_transforms(
    variant: Variant, training: TrainingSettings
) -> dict[str, optax.GradientTransformation]:
    """The transformation of each group that trains, without its learning rate.

    The trunk's gradient is clipped by its global norm; gradients of features and readout are first
    multiplied by H, then clipped layer by layer in the functional norm, so that neither clipping
    nor ε depends on the width (docs/theory.md, sections 2 and 8).

    Raises:
      UserError: Gradients are clipped, but the variant's rule is given unclipped errors.
    """
    trunk = RULES[training.trunk_optimizer].make(training)
    transforms = {"trunk": optax.chain(_trunk_clip(training), trunk)}
    if variant.features == "adam":
        transforms["features"] = _functional("adam", training)
    if needs_errors(variant.readout) and training.clip_norm is not None:
        raise UserError(f"{variant.readout} sees errors unclipped: set training.clip_norm to null")
    if variant.readout != "none":
        scaled = variant.features == "measured"
        transforms["readout"] = _functional(variant.readout, training, scaled)
    return transforms


def learning_rates(
    hyperparameters: Hyperparameters, schedule_value: jax.Array, d: int
) -> dict[str, jax.Array]:
    """The step size of each group, for features of d = D + 1 inputs (docs/theory.md, section 11).

    η for the trunk, η_readout for the readout, κ√d η for the features, each times the schedule's
    value, in [0, 1].
    """
    trunk = hyperparameters.trunk * schedule_value
    return {
        "trunk": trunk,
        "features": hyperparameters.kappa * math.sqrt(d) * trunk,
        "readout": hyperparameters.readout * schedule_value,
    }


def schedule(training: TrainingSettings) -> Callable[[jax.typing.ArrayLike], jax.Array]:
    """Linear warm-up from 0 to 1, then a cosine to the final fraction, by steps already taken."""
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


def in_gradients(readout: Readout) -> bool:
    """Whether the rates of a rule are in units of `sgd_unit`; False where there is no readout."""
    return readout != "none" and RULES[readout].in_gradients


def needs_errors(readout: Readout) -> bool:
    """Whether a rule is given `squared_errors`; False where there is no readout."""
    return readout != "none" and RULES[readout].needs_errors


def sgd_unit(functional_gradients: Any) -> jax.Array:
    """The rate at which SGD's first step has rms 1, as the first steps of Adam and ADAM* have.

    From G = H ∂L/∂M, one leaf a readout: 1 / √(mean of G² over all entries of all leaves). See
    docs/theory.md, section 11.
    """
    leaves = jax.tree.leaves(functional_gradients)
    total = sum(jnp.sum(jnp.square(leaf)) for leaf in leaves)
    return jnp.sqrt(sum(leaf.size for leaf in leaves) / total)


def _functional(
    name: str, training: TrainingSettings, scaled: bool = False
) -> optax.GradientTransformation:
    clip = (
        optax.identity()
        if training.clip_norm is None
        else clip_by_functional_norm(training.clip_norm)
    )
    rule = RULES[name].make(training)
    if not scaled:
        return optax.chain(scale_by_width(), clip, rule)
    scales = training.scales
    return optax.chain(
        scale_by_width(),
        # On the features divided by their scales a gradient has another norm.
        on_measured_scales(
            optax.chain(clip, rule),
            hold_after=scales.hold_after,
            power=scales.power,
            floor=scales.floor,
        ),
    )


def _trunk_clip(training: TrainingSettings) -> optax.GradientTransformation:
    if training.clip_norm is None:
        return optax.identity()
    return optax.clip_by_global_norm(training.clip_norm)


def _standard_promotion(transform: optax.GradientTransformation) -> optax.GradientTransformation:
    """Lets optax raise a Python float to an int32 count where this project promotes strictly."""

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return transform.update(updates, state, params)

    return optax.GradientTransformation(transform.init, update)


class Rule(NamedTuple):
    """A rule for the readout's functional gradient.

    Attributes:
      make: gives the transformation, without its learning rate.
      in_gradients: whether the first step is the gradient itself, so that rates are in units of its
        rms (`sgd_unit`).
      needs_errors: whether its update is given `squared_errors`, Σ_i δ_ie² of each layer.
    """

    make: Callable[[TrainingSettings], optax.GradientTransformation]
    in_gradients: bool = False
    needs_errors: bool = False


RULES: dict[str, Rule] = {
    "adam": Rule(lambda t: _standard_promotion(optax.scale_by_adam(t.b1, t.b2, t.eps))),
    "nadam": Rule(
        lambda t: _standard_promotion(optax.scale_by_adam(t.b1, t.b2, t.eps, nesterov=True))
    ),
    "sgd": Rule(lambda t: optax.identity(), in_gradients=True),
    "momentum": Rule(lambda t: optax.trace(decay=t.b1), in_gradients=True),
    "adam_star": Rule(lambda t: scale_by_adam_star(t.b1, t.b2, t.eps)),
    "rms_star": Rule(lambda t: scale_by_rms_star(t.b2, t.eps, bias_correction=True)),
    "adam_star_global": Rule(
        lambda t: scale_by_adam_star(t.b1, t.b2, t.eps, second_moment="global")
    ),
    "adam_star_factored": Rule(
        lambda t: scale_by_adam_star(t.b1, t.b2, t.eps, second_moment="factored")
    ),
    "adam_star_error": Rule(
        lambda t: scale_by_adam_star(t.b1, t.b2, t.eps, second_moment="error"), needs_errors=True
    ),
    "adam_star_uncorrected": Rule(
        lambda t: scale_by_adam_star(t.b1, t.b2, t.eps, bias_correction=False)
    ),
    "nadam_star": Rule(lambda t: scale_by_adam_star(t.b1, t.b2, t.eps, nesterov=True)),
    "adagrad_star": Rule(lambda t: scale_by_adagrad_star(eps=t.eps)),
    "muon_star": Rule(lambda t: scale_by_muon_star(t.b1)),
}
"""By its word in the table of variants; the rows that a run does not use are not in its key."""
