# SPDX-License-Identifier: Apache-2.0
"""Trains small models of several architectures on digits, a run at a time, by any variant.

Shapes: P pixels, A images of all splits together, E classes; S steps of K images; H width.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from infwidth.config.errors import UserError
from infwidth.config.variants import Variant
from infwidth.experiments.architectures.settings import Architecture, ArchitecturesSettings
from infwidth.experiments.digits import as_training, scaled
from infwidth.models.architectures import ConvNet, MakeLayer, RecurrentNet, ResidualMLP, layer_maker
from infwidth.models.loss import cross_entropy
from infwidth.models.transformer import random_streams
from infwidth.models.variables import Groups, Parameters, merge, split
from infwidth.training import rules

ByGroup = dict[str, Parameters]


class Problem(NamedTuple):
    """What all runs share: the images as they were given, those to test on last, and E classes.

    `splits` says where each split lies in the order of a run's `Draw`: train, validation, test.
    """

    x_AxP: np.ndarray
    label_A: np.ndarray
    splits: dict[str, slice]
    classes: int


class Draw(NamedTuple):
    """The images as one seed's runs see them: scaled, those of a split one after the other."""

    x_PxA: jax.Array
    label_A: jax.Array


class Outcome(NamedTuple):
    """A run that has ended: the loss of each step's batch before the step, nats per image.

    Then of every image after the last step, in the order of the seed's `Draw`, the loss, and
    whether its class has the largest logit.
    """

    step_loss_S: np.ndarray
    loss_A: np.ndarray
    correct_A: np.ndarray

    def diverged(self, factor: float) -> bool:
        """A loss is not finite, or above the first one by more than the factor."""
        worst = float(self.step_loss_S.max())
        finite = np.isfinite(self.step_loss_S).all() and np.isfinite(self.loss_A).all()
        return bool(not finite or worst > factor * self.step_loss_S[0])


def make_problem(
    settings: ArchitecturesSettings, x_AxP: np.ndarray, label_A: np.ndarray
) -> Problem:
    """Chooses the images to test on, the same for all runs."""
    held_out = settings.validation_images + settings.test_images
    N = len(x_AxP) - held_out
    if settings.batch_size > N:
        raise UserError(
            f"architectures.validation_images and test_images hold {held_out} of {len(x_AxP)} "
            f"images out, which leaves fewer than a batch of {settings.batch_size}: lower them"
        )
    order_A = np.random.default_rng(settings.split_seed).permutation(len(x_AxP))
    first_of_test = N + settings.validation_images
    return Problem(
        x_AxP[order_A],
        label_A[order_A],
        {
            "train": slice(0, N),
            "validation": slice(N, first_of_test),
            "test": slice(first_of_test, None),
        },
        int(label_A.max()) + 1,
    )


def draw(problem: Problem, seed: int) -> Draw:
    """Draws the images to train on and to validate with from those that are not tested on.

    All are scaled by those trained on. The draw is the same for every architecture, variant, width
    and rate.
    """
    order_A = np.arange(len(problem.label_A))
    others = slice(problem.splits["test"].start)
    # Spawned, so that this order tells nothing of that of the batches, which has the same seed.
    rng = np.random.default_rng(seed).spawn(1)[0]
    order_A[others] = rng.permutation(order_A[others])
    x_PxA = scaled(problem.x_AxP[order_A], problem.splits["train"]).T
    return Draw(jnp.asarray(x_PxA, jnp.float32), jnp.asarray(problem.label_A[order_A], jnp.int32))


def build(
    problem: Problem,
    settings: ArchitecturesSettings,
    architecture: Architecture,
    make_layer: MakeLayer,
    seed: int,
) -> ResidualMLP | ConvNet | RecurrentNet:
    """A model as a seed draws it: the same trunk at every width and in every variant."""
    streams = nnx.Rngs(**random_streams(seed))
    shape: dict[str, tuple[Callable[..., Any], int]] = {
        "mlp": (ResidualMLP, settings.mlp_embedding),
        "cnn": (ConvNet, settings.cnn_channels),
        "rnn": (RecurrentNet, settings.rnn_state),
    }
    kind, dimension = shape[architecture]
    return kind(problem.x_AxP.shape[1], dimension, problem.classes, make_layer, rngs=streams)


def batches(problem: Problem, settings: ArchitecturesSettings, seed: int) -> np.ndarray:
    """index_SxK, in a `Draw`, of each step's images: every one once before any comes again."""
    N, count = problem.splits["train"].stop, settings.steps * settings.batch_size
    rng = np.random.default_rng(seed)
    index = np.concatenate([rng.permutation(N) for _ in range(-(-count // N))])
    return index[:count].reshape(settings.steps, settings.batch_size).astype(np.int32)


class Program:
    """The training of one (architecture, variant, width), compiled once for all rates and seeds."""

    def __init__(
        self,
        problem: Problem,
        settings: ArchitecturesSettings,
        architecture: Architecture,
        variant: Variant,
        width: int,
    ) -> None:
        """Prepares; compilation comes with the first run."""
        self._problem, self._settings = problem, settings
        self._build = partial(
            build, problem, settings, architecture, layer_maker(variant.features, width)
        )
        model = self._build(seed=0)
        self._structure, _ = split(model)
        self._d = model.feature_inputs + 1
        # The rules are those of the language model, and so are their settings.
        training = as_training(settings)
        self._transforms = rules.group_transforms(variant, training)
        self._schedule = rules.schedule(training)
        self._in_units_of_sgd = rules.in_gradients(variant.readout)
        self._jitted = jax.jit(self._run)

    def run(self, trunk: float, readout: float | None, kappa: float | None, seed: int) -> Outcome:
        """Trains a model and scores it on all images.

        Rates are peaks: Adam's outside the wide layer; M's, in units in which every rule's first
        step has rms η, None where there is no wide layer; and κ, the features' in units of √d times
        the trunk's, None where they are fixed. The seed is that of all that is drawn.
        """
        peaks = rules.Hyperparameters(
            *(jnp.asarray(0.0 if rate is None else rate, float) for rate in (trunk, readout, kappa))
        )
        _, parameters = split(self._build(seed))
        index_SxK = batches(self._problem, self._settings, seed)
        found = self._jitted(parameters, peaks, index_SxK, *draw(self._problem, seed))
        return Outcome(*map(np.asarray, found))

    def _loss(
        self, trained: ByGroup, fixed: ByGroup, x_PxK: jax.Array, label_K: jax.Array
    ) -> jax.Array:
        logits_ExK = merge(self._structure, Groups(**trained, **fixed))(x_PxK)
        return jnp.mean(cross_entropy(logits_ExK, label_K))

    def _run(
        self,
        parameters: Groups,
        peaks: rules.Hyperparameters,
        index_SxK: jax.Array,
        x_PxA: jax.Array,
        label_A: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        fixed = parameters._asdict()
        trained = {group: fixed.pop(group) for group in self._transforms}
        if self._in_units_of_sgd:
            first_K = index_SxK[0]
            gradients = jax.grad(self._loss)(trained, fixed, x_PxA[:, first_K], label_A[first_K])
            functional = {name: g * g.shape[0] for name, g in gradients["readout"].items()}
            peaks = peaks._replace(readout=peaks.readout * rules.sgd_unit(functional))

        def step(carry: tuple, index_K: jax.Array) -> tuple[tuple, jax.Array]:
            number, trained, states = carry
            loss, gradients = jax.value_and_grad(self._loss)(
                trained, fixed, x_PxA[:, index_K], label_A[index_K]
            )
            rates = rules.learning_rates(peaks, self._schedule(number), self._d)
            moved, new_states = {}, {}
            for group, transform in self._transforms.items():
                directions, new_states[group] = transform.update(
                    gradients[group], states[group], trained[group]
                )
                updates = optax.tree.scale(-rates[group], directions)
                moved[group] = optax.apply_updates(trained[group], updates)
            return (number + 1, moved, new_states), loss

        states = {group: t.init(trained[group]) for group, t in self._transforms.items()}
        start = (jnp.zeros((), jnp.int32), trained, states)
        (_, trained, _), loss_S = jax.lax.scan(step, start, index_SxK)
        logits_ExA = merge(self._structure, Groups(**trained, **fixed))(x_PxA)
        return loss_S, cross_entropy(logits_ExA, label_A), jnp.argmax(logits_ExA, axis=0) == label_A
