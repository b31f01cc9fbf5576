# SPDX-License-Identifier: Apache-2.0
"""The compiled training step of one (model, variant, width), for every learning rate and seed.

Shapes: B sequences of T + 1 tokens, S steps a call, N windows to evaluate, V vocabulary, H width.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import Variant
from infwidth.models.features import mlp_maker
from infwidth.models.flops import training_flops
from infwidth.models.transformer import Transformer, random_streams
from infwidth.models.variables import Groups, Parameters, merge, split
from infwidth.training import rules
from infwidth.training.microbatches import microbatch_count

Metrics = dict[str, jax.Array]
ByGroup = dict[str, Parameters]

TAPS = "taps"
"""Beside the groups that train: zeros whose gradients are the sums of squared errors, Σ_i δ_ie²."""


class TrainState(NamedTuple):
    """All that a step changes, and the features, which some variants hold fixed."""

    step: jax.Array
    trunk: Parameters
    features: Parameters
    readout: Parameters
    optimizer: dict[str, Any]


def compile_program(
    model: ModelSettings,
    training: TrainingSettings,
    variant: Variant,
    width: int,
    vocabulary_size: int,
) -> "Program":
    """Builds the functions that initialize, train and evaluate one variant at one width.

    Each is compiled at its first call. H is of no effect where the variant has no MLPs.

    Raises:
      UserError: the mesh does not fit the batch, the width or the devices that there are.
    """
    if training.mesh.devices > 1:
        # Imports this module.
        from infwidth.training.sharded_step import ShardedProgram

        return ShardedProgram(model, training, variant, width, vocabulary_size)
    return Program(model, training, variant, width, vocabulary_size)


class Program:
    """The functions of `compile_program`; learning rates, κ and seeds are arguments of theirs.

    A sweep over those compiles nothing anew; another number of steps or of windows does.

    Attributes:
      groups: names of the groups that train.
      parameter_counts: number of parameters of each group, trained or not.
      optimizer_bytes: bytes of the optimizer's state.
      flops_per_step: FLOPs of a training step (see `infwidth.models.flops`).
    """

    def __init__(
        self,
        model: ModelSettings,
        training: TrainingSettings,
        variant: Variant,
        width: int,
        vocabulary_size: int,
    ):
        outputs = vocabulary_size if model.readout_target == "vocabulary" else None
        make_mlp = mlp_maker(model, variant.features, width, outputs)
        self._build = partial(Transformer, model, make_mlp, vocabulary_size)
        self._schedule = rules.schedule(training)
        self._decay = training.readout_decay
        self._microbatch_tokens = training.microbatch_tokens
        self._transforms = rules.group_transforms(variant, training)
        self._d = model.d_model + 1
        self.groups = tuple(self._transforms)
        self.flops_per_step = training_flops(
            model, variant, width, vocabulary_size, training.batch_size
        )

        self._structure, parameters = split(self._build(rngs=nnx.Rngs(**random_streams(0))))
        self.parameter_counts = {
            group: sum(x.size for x in leaves.values())
            for group, leaves in parameters._asdict().items()
        }
        # A tap on each MLP, where the rule is given squared errors; zeros by their readout's name.
        self._tapped, self._taps = self._structure, Parameters()
        if rules.needs_errors(variant.readout):
            make_mlp = mlp_maker(model, variant.features, width, outputs, has_tap=True)
            rngs = nnx.Rngs(**random_streams(0))
            self._tapped, _ = split(Transformer(model, make_mlp, vocabulary_size, rngs=rngs))
            self._taps = {name: jnp.zeros_like(m[0]) for name, m in parameters.readout.items()}
        optimizer = jax.eval_shape(self._init_optimizer, parameters)
        self.optimizer_bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(optimizer))

        self._jitted_train = jax.jit(self._train, donate_argnums=0)
        self._jitted_evaluate = jax.jit(self._evaluate)
        self._jitted_probe = jax.jit(self._probe)
        self._jitted_functional_gradients = jax.jit(self._functional_gradients)

    def init(self, seed: int) -> TrainState:
        """The state before the first step: the same trunk in every variant and at every width."""
        _, parameters = split(self._build(rngs=nnx.Rngs(**random_streams(seed))))
        return TrainState(
            jnp.zeros((), jnp.int32), *parameters, optimizer=self._init_optimizer(parameters)
        )

    def train(
        self,
        state: TrainState,
        hyperparameters: rules.Hyperparameters,
        tokens_SxBxT1: jax.typing.ArrayLike,
    ) -> tuple[TrainState, Metrics]:
        """Takes S steps, a batch each; the state is given up, and its buffers hold the result.

        Returns:
          The state after the steps, and per step (arrays of shape S) `loss`, nats per token before
          the step, and for each group that trains `learning_rate/<group>` and
          `update_rms/<group>`, the size of its step.
        """
        return self._jitted_train(state, hyperparameters, tokens_SxBxT1)

    def evaluate(
        self,
        state: TrainState,
        tokens_NxT1: jax.typing.ArrayLike,
        mask_NxT: jax.typing.ArrayLike,
    ) -> jax.Array:
        """sums_N, nats, of the loss over the targets of each window that the mask has."""
        return self._jitted_evaluate(state, tokens_NxT1, mask_NxT)

    def probe(self, state: TrainState, tokens_BxT1: jax.typing.ArrayLike) -> Metrics:
        """The root mean square of every activation on a batch, by `Transformer`'s names."""
        return self._jitted_probe(state, tokens_BxT1)

    def functional_gradients(
        self, state: TrainState, tokens_BxT1: jax.typing.ArrayLike
    ) -> Parameters:
        """G = H ∂L/∂M on a batch (docs/theory.md, functional gradient), by each readout's path."""
        return self._jitted_functional_gradients(state, tokens_BxT1)

    def model(self, state: TrainState) -> Transformer:
        """The model with a state's parameters."""
        return self._model(_parameters(state))

    def _init_optimizer(self, parameters: Groups) -> dict[str, Any]:
        return {
            group: transform.init(getattr(parameters, group))
            for group, transform in self._transforms.items()
        }

    def _model(self, groups: Groups) -> Transformer:
        return merge(self._structure, groups)

    def _mean_loss(self, trained: ByGroup, fixed: ByGroup, tokens_BxT1: jax.Array) -> jax.Array:
        groups = {**trained, **fixed}
        taps = groups.pop(TAPS, None)
        if taps is None:
            return self._model(Groups(**groups)).mean_loss(tokens_BxT1)
        leaves = {f"{name.removesuffix('m_HxE')}tap_E": tap_E for name, tap_E in taps.items()}
        groups["readout"] = groups["readout"] | leaves
        return merge(self._tapped, Groups(**groups)).mean_loss(tokens_BxT1)

    def _loss_and_gradients(
        self, trained: ByGroup, fixed: ByGroup, tokens_BxT1: jax.Array
    ) -> tuple[jax.Array, ByGroup]:
        """The loss and its gradients, in microbatches one after the other."""
        loss_and_gradients = jax.value_and_grad(self._mean_loss)
        B, T1 = tokens_BxT1.shape
        count = microbatch_count(B, T1 - 1, self._microbatch_tokens)
        if count == 1:
            return loss_and_gradients(trained, fixed, tokens_BxT1)

        def add(total: Any, tokens_MxT1: jax.Array) -> tuple[Any, None]:
            return jax.tree.map(
                jnp.add, total, loss_and_gradients(trained, fixed, tokens_MxT1)
            ), None

        zeros = jax.tree.map(jnp.zeros_like, (jnp.zeros(()), trained))
        total, _ = jax.lax.scan(add, zeros, tokens_BxT1.reshape(count, B // count, T1))
        return errors_of_whole(jax.tree.map(lambda x: x / count, total), count)

    def _step(
        self,
        fixed: ByGroup,
        hyperparameters: rules.Hyperparameters,
        carry: tuple[jax.Array, ByGroup, dict[str, Any]],
        tokens_BxT1: jax.Array,
    ) -> tuple[tuple[jax.Array, ByGroup, dict[str, Any]], Metrics]:
        step, trained, optimizer = carry
        with_taps = {**trained, TAPS: self._taps} if self._taps else trained
        loss, gradients = self._loss_and_gradients(with_taps, fixed, tokens_BxT1)
        rates = rules.learning_rates(hyperparameters, self._schedule(step), self._d)
        metrics = {"loss": loss}
        parameters, states = {}, {}
        for group, transform in self._transforms.items():
            own = group == "readout" and self._taps
            directions, states[group] = transform.update(
                gradients[group],
                optimizer[group],
                trained[group],
                **({"squared_errors": gradients[TAPS]} if own else {}),
            )
            updates = optax.tree.scale(-rates[group], directions)
            if group == "readout" and self._decay:
                shrink = -self._decay * self._schedule(step)
                updates = optax.tree.add_scale(updates, shrink, trained[group])
            parameters[group] = optax.apply_updates(trained[group], updates)
            metrics[f"learning_rate/{group}"] = rates[group]
            metrics[f"update_rms/{group}"] = _rms(updates)
        return (step + 1, parameters, states), metrics

    def _train(
        self,
        state: TrainState,
        hyperparameters: rules.Hyperparameters,
        tokens_SxBxT1: jax.Array,
    ) -> tuple[TrainState, Metrics]:
        fixed = _parameters(state)._asdict()
        trained = {group: fixed.pop(group) for group in self.groups}
        (step, trained, optimizer), metrics = jax.lax.scan(
            partial(self._step, fixed, hyperparameters),
            (state.step, trained, state.optimizer),
            tokens_SxBxT1,
        )
        return TrainState(step, **fixed, **trained, optimizer=optimizer), metrics

    def _evaluate(
        self, state: TrainState, tokens_NxT1: jax.Array, mask_NxT: jax.Array
    ) -> jax.Array:
        losses_NxT = self.model(state).losses(tokens_NxT1).reshape(mask_NxT.shape)
        return jnp.sum(jnp.where(mask_NxT, losses_NxT, 0.0), axis=1)

    def _probe(self, state: TrainState, tokens_BxT1: jax.Array) -> Metrics:
        sizes: Metrics = {}
        self.model(state)(
            tokens_BxT1[:, :-1], lambda name, x_DxN: sizes.update({name: _rms(x_DxN)})
        )
        return sizes

    def _functional_gradients(self, state: TrainState, tokens_BxT1: jax.Array) -> Parameters:
        fixed = _parameters(state)._asdict()
        readout = {"readout": fixed.pop("readout")}
        _, gradients = self._loss_and_gradients(readout, fixed, tokens_BxT1)
        return {name: m_HxE * m_HxE.shape[0] for name, m_HxE in gradients["readout"].items()}


def errors_of_whole(
    loss_and_gradients: tuple[jax.Array, ByGroup], parts: int
) -> tuple[jax.Array, ByGroup]:
    """Squared errors of a batch, from the mean over its equal parts, whose errors are n-fold."""
    loss, gradients = loss_and_gradients
    if TAPS in gradients:
        gradients = {**gradients, TAPS: optax.tree.scale(1 / parts, gradients[TAPS])}
    return loss, gradients


def _parameters(state: TrainState) -> Groups:
    return Groups(state.trunk, state.features, state.readout)


def _rms(tree: Any) -> jax.Array:
    leaves = jax.tree.leaves(tree)
    total = sum(jnp.sum(jnp.square(x)) for x in leaves)
    return jnp.sqrt(total / sum(x.size for x in leaves))
