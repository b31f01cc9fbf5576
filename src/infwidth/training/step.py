"""The compiled training step of one (model, variant, width), for every learning rate and seed.

Shapes: B sequences of T + 1 tokens, S steps a call, N windows to evaluate, V vocabulary, H width.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import PartitionSpec as P

from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import Variant
from infwidth.models.flops import training_flops
from infwidth.models.loss import cross_entropy
from infwidth.models.transformer import Observe, Transformer, random_streams
from infwidth.models.variables import Groups, Parameters, merge, split
from infwidth.training import rules

Metrics = dict[str, jax.Array]


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
    """Builds the compiled functions of one (model, training, variant, width).

    Args:
      model: shape of the model.
      training: batch, schedule and optimizer settings; learning rates are arguments of `train`.
      variant: how the MLPs train.
      width: H; of no effect where the variant has no MLPs.
      vocabulary_size: V.

    Returns:
      The program. Each of its functions is compiled at its first call.
    """
    return Program(model, training, variant, width, vocabulary_size)


class Program:
    """Initialises, trains and evaluates the model of one variant at one width.

    Learning rates, κ and seeds are arguments: a sweep over them compiles nothing anew.

    Attributes:
      groups: the groups that train.
      parameter_counts: number of parameters of each group, trained or not.
      optimizer_bytes: bytes of the optimizer's state.
      flops_per_step: matrix-product FLOPs of a training step (`infwidth.models.flops`).
    """

    def __init__(
        self,
        model: ModelSettings,
        training: TrainingSettings,
        variant: Variant,
        width: int,
        vocabulary_size: int,
    ):
        import os

        n = int(os.environ.get("DEV", "1"))
        self._mesh = (
            None
            if n == 1
            else jax.make_mesh((n,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
        )
        self._build = partial(Transformer, model, variant.features, width, vocabulary_size)
        self._schedule = rules.schedule(training)
        self._transforms = rules.group_transforms(variant, training)
        self._feature_dimension = model.d_model + 1
        self.groups = tuple(self._transforms)

        self._structure, parameters = split(self._build(rngs=nnx.Rngs(**random_streams(0))))
        self.parameter_counts = {
            group: sum(leaf.size for leaf in leaves.values())
            for group, leaves in parameters._asdict().items()
        }
        optimizer = jax.eval_shape(self._init_optimizer, parameters)
        self.optimizer_bytes = sum(
            leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(optimizer)
        )
        self.flops_per_step = training_flops(
            model, variant, width, vocabulary_size, training.batch_size
        )

        self.train = jax.jit(self._train, donate_argnums=0)
        self.evaluate = jax.jit(self._evaluate)
        self.probe = jax.jit(self._probe)
        self.functional_gradients = jax.jit(self._functional_gradients)

    def init(self, seed: int) -> TrainState:
        """Draws the parameters of a seed: the same trunk in every variant and at every width."""
        _, parameters = split(self._build(rngs=nnx.Rngs(**random_streams(seed))))
        return TrainState(
            jnp.zeros((), jnp.int32), *parameters, optimizer=self._init_optimizer(parameters)
        )

    def _init_optimizer(self, parameters: Groups) -> dict[str, Any]:
        return {
            group: transform.init(getattr(parameters, group))
            for group, transform in self._transforms.items()
        }

    def _logits(
        self, parameters: Groups, tokens_BxT: jax.Array, observe: Observe | None = None
    ) -> jax.Array:
        model = merge(self._structure, parameters)
        return model(tokens_BxT) if observe is None else model(tokens_BxT, observe)

    def _mean_loss(self, trained: dict, fixed: dict, tokens_BxT1: jax.Array) -> jax.Array:
        logits = self._logits(Groups(**trained, **fixed), tokens_BxT1[:, :-1])
        return jnp.mean(cross_entropy(logits, tokens_BxT1[:, 1:].reshape(-1)))

    def _gradients(
        self, trained: dict, fixed: dict, tokens_BxT1: jax.Array
    ) -> tuple[jax.Array, dict]:
        if self._mesh is None:
            return self._accumulate(trained, fixed, tokens_BxT1)
        return jax.shard_map(
            lambda *shard: jax.lax.pmean(self._accumulate(*shard), "data"),
            mesh=self._mesh,
            in_specs=(P(), P(), P("data")),
            out_specs=P(),
            check_vma=False,
        )(trained, fixed, tokens_BxT1)

    def _accumulate(
        self, trained: dict, fixed: dict, tokens_BxT1: jax.Array
    ) -> tuple[jax.Array, dict]:
        """The mean loss and its gradients, one microbatch after the other."""
        value_and_grad = jax.value_and_grad(self._mean_loss)
        B, T1 = tokens_BxT1.shape
        count = microbatches(B, T1 - 1)
        if count == 1:
            return value_and_grad(trained, fixed, tokens_BxT1)

        def add(total, micro_tokens):
            return jax.tree.map(jnp.add, total, value_and_grad(trained, fixed, micro_tokens)), None

        zero = jax.tree.map(jnp.zeros_like, (jnp.float32(0), trained))
        total, _ = jax.lax.scan(add, zero, tokens_BxT1.reshape(count, B // count, T1))
        return jax.tree.map(lambda x: x / count, total)

    def _step(
        self,
        fixed: dict[str, Parameters],
        hyperparameters: rules.Hyperparameters,
        carry: tuple,
        tokens_BxT1: jax.Array,
    ) -> tuple[tuple, Metrics]:
        step, trained, optimizer = carry
        loss, gradients = self._gradients(trained, fixed, tokens_BxT1)
        rates = rules.learning_rates(hyperparameters, self._schedule(step), self._feature_dimension)
        metrics = {"loss": loss}
        parameters, states = {}, {}
        for group, transform in self._transforms.items():
            directions, states[group] = transform.update(
                gradients[group], optimizer[group], trained[group]
            )
            updates = optax.tree.scale(-rates[group], directions)
            parameters[group] = optax.apply_updates(trained[group], updates)
            metrics[f"update_rms/{group}"] = rms(updates)
        return (step + 1, parameters, states), metrics

    def _train(
        self,
        state: TrainState,
        hyperparameters: rules.Hyperparameters,
        tokens_SxBxT1: jax.Array,
    ) -> tuple[TrainState, Metrics]:
        groups = {group: getattr(state, group) for group in Groups._fields}
        trained = {group: groups.pop(group) for group in self.groups}
        carry, metrics = jax.lax.scan(
            partial(self._step, groups, hyperparameters),
            (state.step, trained, state.optimizer),
            tokens_SxBxT1,
        )
        step, trained, optimizer = carry
        return TrainState(step, optimizer=optimizer, **groups, **trained), metrics

    def _evaluate(
        self, state: TrainState, tokens_NxT1: jax.Array, mask_NxT: jax.Array
    ) -> jax.Array:
        logits = self._logits(state_parameters(state), tokens_NxT1[:, :-1])
        losses_NxT = cross_entropy(logits, tokens_NxT1[:, 1:].reshape(-1)).reshape(mask_NxT.shape)
        return jnp.sum(jnp.where(mask_NxT, losses_NxT, 0.0), axis=1)

    def _probe(self, state: TrainState, tokens_BxT1: jax.Array) -> Metrics:
        sizes: Metrics = {}
        self._logits(
            state_parameters(state),
            tokens_BxT1[:, :-1],
            lambda name, x: sizes.update({name: rms(x)}),
        )
        return sizes

    def _functional_gradients(self, state: TrainState, tokens_BxT1: jax.Array) -> Parameters:
        fixed = {"trunk": state.trunk, "features": state.features}
        gradients = jax.grad(self._mean_loss)({"readout": state.readout}, fixed, tokens_BxT1)
        return {name: m.shape[0] * m for name, m in gradients["readout"].items()}


def microbatches(B: int, T: int) -> int:
    import os

    return int(os.environ.get("MB", "1"))


def state_parameters(state: TrainState) -> Groups:
    """The parameters of a state, by group."""
    return Groups(state.trunk, state.features, state.readout)


def rms(tree: Any) -> jax.Array:
    """The root mean square over all the elements of a tree of arrays."""
    leaves = jax.tree.leaves(tree)
    total = sum(jnp.sum(jnp.square(leaf)) for leaf in leaves)
    return jnp.sqrt(total / sum(leaf.size for leaf in leaves))
