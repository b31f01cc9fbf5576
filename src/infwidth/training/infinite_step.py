# SPDX-License-Identifier: Apache-2.0
"""The compiled training step of the infinite-width transformer; the interface of `step.Program`.

Everything outside the MLPs is what it is at finite width: the same trunk, from the same numbers, on
the same batches, by the same Adam. An MLP's readout trains in coefficient space: its errors
δ = ∂L/∂f are the gradient of a shift of its output, and join its support with its inputs.

Shapes: B sequences of T + 1 tokens, S steps a call, N = B·T, D residual stream, E = D.
"""

import math
from functools import partial
from typing import Any, NamedTuple, cast, get_args

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import NO_MLPS, Variant
from infwidth.infinite.mlp import (
    InfiniteMLP,
    StreamRule,
    advance,
    infinite_mlp_maker,
    squared_gradient,
)
from infwidth.infinite.support import require_memory, steps_with_room
from infwidth.models.features import feature_bias
from infwidth.models.flops import infinite_training_flops
from infwidth.models.loss import cross_entropy
from infwidth.models.transformer import MLP, Transformer, random_streams
from infwidth.models.variables import Groups, Parameters, split
from infwidth.training import rules
from infwidth.training.step import Metrics, Program, TrainState


class _Errors(NamedTuple):
    """What one layer learns from a batch: its inputs, δ, and E_ω[G²] for each output."""

    x_DxN: jax.Array
    delta_ExN: jax.Array
    square_E: jax.Array


class _Tap:
    """A layer that keeps what it is given, and whose output is shifted; the gradient there is δ."""

    def __init__(self, mlp: MLP, shift_ExN: jax.Array):
        self._mlp = mlp
        self._shift_ExN = shift_ExN
        self.seen_DxN: jax.Array

    def __call__(self, x_DxN: jax.Array) -> jax.Array:
        self.seen_DxN = jax.lax.stop_gradient(x_DxN)
        return self._mlp(x_DxN) + self._shift_ExN


class InfiniteProgram(Program):
    """The functions of one model whose MLPs are infinitely wide, for all rates and seeds.

    In its states the group `features` holds the inputs seen and `readout` their coefficients. These
    buffers double when they are full; the functions are then compiled again. The attributes are
    those of `Program`: parameters at the end of the run, FLOPs in the mean over it.
    """

    def __init__(
        self,
        model: ModelSettings,
        training: TrainingSettings,
        variant: Variant,
        vocabulary_size: int,
    ):
        """Builds the functions; each is compiled at its first call.

        Raises:
          ValueError: the variant has no kernel form, or the readout decays.
          UserError: the run would need more memory than there is.
        """
        if variant.features != "fixed" or variant.readout not in get_args(StreamRule):
            raise ValueError(
                f"features '{variant.features}' with readout '{variant.readout}' have no kernel "
                f"form here; an infinitely wide MLP has fixed features and trains by "
                f"{' or '.join(get_args(StreamRule))}"
            )
        if training.readout_decay:
            raise ValueError("readout_decay is not for MLPs of infinite width here: set it to 0")
        model = model.with_plain_numerics()
        self._tokens = training.batch_size * model.context
        require_memory(training.steps, self._tokens, model.d_model, model.layers)
        self._training = training
        self._rule = cast(StreamRule, variant.readout)
        self._schedule = rules.schedule(training)
        self._transforms = {"trunk": rules.group_transforms(NO_MLPS, training)["trunk"]}
        self._d = model.d_model + 1
        self._bias = feature_bias(model.d_model, model.feature_bias)
        make_mlp = infinite_mlp_maker(model, self._tokens)
        self._build = partial(Transformer, model, make_mlp, vocabulary_size)
        self._structure, parameters = split(self._build(rngs=nnx.Rngs(**random_streams(0))))
        self.groups = ("trunk", "readout")
        seen = model.layers * training.steps * self._tokens
        self.parameter_counts = {
            "trunk": sum(x.size for x in parameters.trunk.values()),
            "features": seen * self._d,
            "readout": (seen + model.layers * training.steps) * model.d_model,
        }
        optimizer = jax.eval_shape(self._init_optimizer, parameters)
        self.optimizer_bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(optimizer))
        self.flops_per_step = infinite_training_flops(model, training, vocabulary_size)

        self._jitted_train = jax.jit(self._train, donate_argnums=0)
        self._jitted_evaluate = jax.jit(self._evaluate)
        self._jitted_probe = jax.jit(self._probe)
        self._jitted_functional_gradients = jax.jit(self._functional_gradients)

    def train(
        self,
        state: TrainState,
        hyperparameters: rules.Hyperparameters,
        tokens_SxBxT1: jax.typing.ArrayLike,
    ) -> tuple[TrainState, Metrics]:
        """Takes S steps, as `Program.train`; κ is of no effect.

        Of the readout the metrics have no `update_rms`, but `gradient_rms/readout`, the root mean
        square of G over ω and outputs, after clipping.
        """
        steps = int(state.step) + jnp.shape(tokens_SxBxT1)[0]
        return super().train(self.resized(state, steps), hyperparameters, tokens_SxBxT1)

    def resized(self, state: TrainState, steps: int) -> TrainState:
        """The same state with room for `steps` steps, as a run of that length has it."""
        wanted = steps_with_room(steps, self._tokens)

        def resize(leaf: jax.Array) -> jax.Array:
            if leaf.ndim == 0:
                return leaf
            rows = leaf.shape[0] // room * (wanted - room)
            return jnp.pad(leaf, ((0, rows), *((0, 0),) * (leaf.ndim - 1)))

        room = next(q.shape[0] for name, q in state.readout.items() if name.endswith("/q_SxE"))
        if wanted <= room:
            return state
        features, readout = jax.tree.map(resize, (state.features, state.readout))
        return state._replace(features=features, readout=readout)

    def _init_optimizer(self, parameters: Groups) -> dict[str, Any]:
        moments = {
            name.removesuffix("/q_SxE"): jnp.zeros(leaf.shape[1:], leaf.dtype)
            for name, leaf in parameters.readout.items()
            if name.endswith("/q_SxE")
        }
        return {"trunk": self._transforms["trunk"].init(parameters.trunk), "readout": moments}

    def _train(
        self,
        state: TrainState,
        hyperparameters: rules.Hyperparameters,
        tokens_SxBxT1: jax.Array,
    ) -> tuple[TrainState, Metrics]:
        return jax.lax.scan(partial(self._take_step, hyperparameters), state, tokens_SxBxT1)

    def _take_step(
        self, hyperparameters: rules.Hyperparameters, state: TrainState, tokens_BxT1: jax.Array
    ) -> tuple[TrainState, Metrics]:
        loss, trunk_gradients, errors = self._gradients(state, tokens_BxT1)
        rates = rules.learning_rates(hyperparameters, self._schedule(state.step), self._d)
        directions, trunk_state = self._transforms["trunk"].update(
            trunk_gradients, state.optimizer["trunk"], state.trunk
        )
        updates = optax.tree.scale(-rates["trunk"], directions)
        model = self._model(
            Groups(optax.apply_updates(state.trunk, updates), state.features, state.readout)
        )
        moments, squares = {}, []
        for name, mlp in _mlps(model).items():
            x_DxN, delta_ExN, square_E = _clipped(errors[name], self._training.clip_norm)
            mlp.see(x_DxN, delta_ExN)
            q_SxE, moments[name] = advance(
                self._rule,
                mlp.q_SxE[...],
                state.optimizer["readout"][name],
                square_E,
                state.step,
                rates["readout"],
                b1=self._training.b1,
                b2=self._training.b2,
                eps=self._training.eps,
            )
            mlp.q_SxE.set_value(q_SxE)
            squares.append(jnp.mean(square_E))
        metrics = {
            "loss": loss,
            "learning_rate/trunk": rates["trunk"],
            "learning_rate/readout": rates["readout"],
            "update_rms/trunk": optax.tree.norm(updates) / math.sqrt(optax.tree.size(updates)),
            "gradient_rms/readout": jnp.sqrt(sum(squares) / len(squares)),
        }
        _, groups = split(model)
        optimizer = {"trunk": trunk_state, "readout": moments}
        return TrainState(state.step + 1, *groups, optimizer=optimizer), metrics

    def _gradients(
        self, state: TrainState, tokens_BxT1: jax.Array
    ) -> tuple[jax.Array, Parameters, dict[str, _Errors]]:
        """The loss, the trunk's gradients, and what each layer learns."""

        def loss_and_seen(trunk: Parameters, shifts: Parameters) -> tuple[jax.Array, Parameters]:
            model = self._model(Groups(trunk, state.features, state.readout))
            taps = {name: _Tap(mlp, shifts[name]) for name, mlp in _mlps(model).items()}
            for block, tap in zip(model.blocks, taps.values(), strict=True):
                block.mlp = tap
            logits_VxN = model(tokens_BxT1[:, :-1])
            loss = jnp.mean(cross_entropy(logits_VxN, tokens_BxT1[:, 1:].reshape(-1)))
            return loss, {name: tap.seen_DxN for name, tap in taps.items()}

        no_shift_DxN = jnp.zeros((self._d - 1, self._tokens))
        shifts = dict.fromkeys(state.optimizer["readout"], no_shift_DxN)
        gradients = jax.value_and_grad(loss_and_seen, argnums=(0, 1), has_aux=True)
        (loss, seen), (trunk, deltas) = gradients(state.trunk, shifts)
        # The support's buffers are written in place if XLA sees that they were read before: what is
        # written must come of all gradients.
        nothing = 0 * optax.tree.sum(trunk)
        errors = {}
        for name, delta_ExN in deltas.items():
            x_DxN, delta_ExN = seen[name] + nothing, delta_ExN + nothing
            square_E = squared_gradient(x_DxN, delta_ExN, self._bias)
            errors[name] = _Errors(x_DxN, delta_ExN, square_E)
        return loss, trunk, errors

    def _functional_gradients(self, state: TrainState, tokens_BxT1: jax.Array) -> Parameters:
        """The root mean square of G over ω, for each output of each readout, by path."""
        _, _, errors = self._gradients(state, tokens_BxT1)
        return {name: jnp.sqrt(layer.square_E) for name, layer in errors.items()}


def _mlps(model: Transformer) -> dict[str, InfiniteMLP]:
    return {
        f"blocks/{index}/mlp": cast(InfiniteMLP, block.mlp)
        for index, block in enumerate(model.blocks)
    }


def _clipped(errors: _Errors, max_norm: float | None) -> _Errors:
    """Errors of a gradient whose functional norm is at most `max_norm` (theory, equation (13))."""
    if max_norm is None:
        return errors
    norm = jnp.sqrt(jnp.sum(errors.square_E))
    shrink = jnp.where(norm > max_norm, max_norm / norm, 1)
    return _Errors(errors.x_DxN, shrink * errors.delta_ExN, shrink**2 * errors.square_E)
