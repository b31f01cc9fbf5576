# SPDX-License-Identifier: Apache-2.0
"""The training step of one run that several devices share; the interface of `step.Program`.

Each part of a batch has its loss and gradients computed by the single-device code, under
`shard_map` over the batch's axes: a model lays its tokens end to end and works through a batch in
pieces, which the compiler would otherwise undo by gathering the batch. Everything along the width H
and everything after the gradients (ADAM*'s mean over H, functional norms, the optimizer, storage)
is left to the compiler, which is told where the state lies and puts in the reductions.

Axes of the mesh: `data` and `fsdp` split a batch; `fsdp` also splits the storage of parameters and
optimizer state; `width` splits every array that has the MLPs' width, along it.

Shapes: B sequences of T + 1 tokens, S steps a call, N windows to evaluate, H width.
"""

import math
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from infwidth.config.errors import UserError
from infwidth.config.section import MeshSettings
from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import Variant
from infwidth.models.variables import Parameters
from infwidth.training import rules
from infwidth.training.step import ByGroup, Metrics, Program, TrainState, errors_of_whole

BATCH_AXES = ("data", "fsdp")
"""Axes that split a batch, outermost first."""

_PARTS = PartitionSpec(BATCH_AXES)

WHOLE = PartitionSpec()
"""Every device holds all of an array."""


def device_mesh(settings: MeshSettings, batch_size: int, width: int) -> jax.sharding.Mesh:
    """The mesh of a run, over the first devices that there are; H is 0 where there are no MLPs.

    Raises:
      UserError: B or H cannot be split so, or there are fewer devices; or, where several processes
        share a run, more.
    """
    if batch_size % settings.batch_parts:
        raise UserError(
            f"a batch of {batch_size} sequences cannot be split into {settings.batch_parts} equal "
            "parts: let training.mesh.data × training.mesh.fsdp divide the batch size"
        )
    if width % settings.width:
        raise UserError(
            f"an MLP of width {width} cannot be split into {settings.width} equal parts: let "
            "training.mesh.width divide every width"
        )
    there, processes = jax.device_count(), jax.process_count()
    if settings.devices > there or (processes > 1 and settings.devices != there):
        raise UserError(
            f"training.mesh asks for {settings.devices} devices, but {there} are seen by "
            f"{processes} process(es): set data × fsdp × width to what there is"
        )
    shape = (settings.data, settings.fsdp, settings.width)
    return jax.make_mesh(
        shape,
        (*BATCH_AXES, "width"),
        axis_types=(AxisType.Auto,) * 3,
        devices=jax.devices()[: settings.devices],
    )


def trunk_spec(mesh: jax.sharding.Mesh, shape: tuple[int, ...]) -> PartitionSpec:
    """How an array outside the MLPs is stored: over `fsdp`, along its first axis that divides."""
    parts = mesh.shape["fsdp"]
    for axis, size in enumerate(shape):
        if parts > 1 and size >= parts and size % parts == 0:
            return PartitionSpec(*(None,) * axis, "fsdp")
    return WHOLE


def mlp_spec(mesh: jax.sharding.Mesh, shape: tuple[int, ...], width: int) -> PartitionSpec:
    """How an array of an MLP is stored: along H over `width`, and over `fsdp` if that divides too.

    Arrays without the width, such as ADAM*'s v, lie whole on every device.
    """
    if not shape or shape[0] != width:
        return WHOLE
    axes = ("width", "fsdp")
    split = width % math.prod(mesh.shape[axis] for axis in axes) == 0
    return PartitionSpec(axes if split else "width")


def place(value: Any, sharding: NamedSharding) -> jax.Array:
    """Puts an array that every process holds on the devices of a mesh, each its part."""
    host = np.asarray(value)
    return jax.make_array_from_callback(
        host.shape, sharding, lambda index: np.array(host[index], copy=True)
    )


class ShardedProgram(Program):
    """The functions of one model that trains on a mesh of devices, of one process or of several.

    Arguments and results are those of `Program`: all of a batch goes in, in every process, and
    losses come out whole. Only the state lies in parts.

    Where several processes share the run, each call waits for its result: with more than one
    program under way, processes that start them in different orders wait for each other for ever.
    """

    def __init__(
        self,
        model: ModelSettings,
        training: TrainingSettings,
        variant: Variant,
        width: int,
        vocabulary_size: int,
    ):
        self._width = 0 if variant.features == "none" else width
        self._mesh = device_mesh(training.mesh, training.batch_size, self._width)
        with _in_host_memory():
            super().__init__(model, training, variant, width, vocabulary_size)
            # Drawn, not traced: normalized features are scaled by SciPy.
            self._shardings = self._state_shardings(super().init(0))
        # Compiled programs are for the state as it lies here, and return it so.
        state, whole, parts = self._shardings, self._at(WHOLE), self._at(_PARTS)
        self._steps_of_parts = self._at(PartitionSpec(None, BATCH_AXES))
        self._jitted_train = jax.jit(
            self._train,
            donate_argnums=0,
            in_shardings=(state, whole, self._steps_of_parts),
            out_shardings=(state, whole),
        )
        self._jitted_evaluate = jax.jit(
            self._evaluate, in_shardings=(state, parts, parts), out_shardings=whole
        )
        self._jitted_probe = jax.jit(self._probe, in_shardings=(state, parts), out_shardings=whole)
        self._jitted_functional_gradients = jax.jit(
            self._functional_gradients, in_shardings=(state, parts), out_shardings=whole
        )

    def init(self, seed: int) -> TrainState:
        """Draws the parameters of a seed, the same on any devices; see `Program.init`."""
        with _in_host_memory():
            state = super().init(seed)
        return jax.tree.map(place, state, self._shardings)

    def train(
        self,
        state: TrainState,
        hyperparameters: rules.Hyperparameters,
        tokens_SxBxT1: jax.typing.ArrayLike,
    ) -> tuple[TrainState, Metrics]:
        """See `Program.train`."""
        rates = jax.tree.map(lambda rate: place(rate, self._at(WHOLE)), hyperparameters)
        tokens = place(tokens_SxBxT1, self._steps_of_parts)
        return _finished(self._jitted_train(state, rates, tokens))

    def evaluate(
        self,
        state: TrainState,
        tokens_NxT1: jax.typing.ArrayLike,
        mask_NxT: jax.typing.ArrayLike,
    ) -> jax.Array:
        """See `Program.evaluate`; N must be a multiple of the parts of a batch."""
        tokens, mask = self._in_parts(tokens_NxT1), self._in_parts(mask_NxT)
        return _finished(self._jitted_evaluate(state, tokens, mask))

    def probe(self, state: TrainState, tokens_BxT1: jax.typing.ArrayLike) -> Metrics:
        """See `Program.probe`."""
        return _finished(self._jitted_probe(state, self._in_parts(tokens_BxT1)))

    def functional_gradients(
        self, state: TrainState, tokens_BxT1: jax.typing.ArrayLike
    ) -> Parameters:
        """See `Program.functional_gradients`."""
        return _finished(self._jitted_functional_gradients(state, self._in_parts(tokens_BxT1)))

    def _at(self, spec: PartitionSpec) -> NamedSharding:
        return NamedSharding(self._mesh, spec)

    def _in_parts(self, rows: jax.typing.ArrayLike) -> jax.Array:
        return place(rows, self._at(_PARTS))

    def _state_shardings(self, shapes: TrainState) -> Any:
        def trunk(leaf: Any) -> NamedSharding:
            return self._at(trunk_spec(self._mesh, leaf.shape))

        def mlp(leaf: Any) -> NamedSharding:
            return self._at(mlp_spec(self._mesh, leaf.shape, self._width))

        return TrainState(
            step=self._at(WHOLE),  # type: ignore[arg-type]  # shardings in the place of arrays
            trunk=jax.tree.map(trunk, shapes.trunk),
            features=jax.tree.map(mlp, shapes.features),
            readout=jax.tree.map(mlp, shapes.readout),
            optimizer={
                group: jax.tree.map(trunk if group == "trunk" else mlp, state)
                for group, state in shapes.optimizer.items()
            },
        )

    def _each_part(self, function: Any, *arguments: Any) -> Any:
        """`function` on each part of the rows of the last arguments; results one after the other.

        Along the width all stays the compiler's.
        """
        return jax.shard_map(
            function,
            mesh=self._mesh,
            in_specs=tuple(_PARTS if isinstance(x, jax.Array) else WHOLE for x in arguments),
            out_specs=_PARTS,
            axis_names=set(BATCH_AXES),
            check_vma=False,
        )(*arguments)

    def _mean_over_parts(self, function: Any, *arguments: Any) -> Any:
        def as_row(*part: Any) -> Any:
            return jax.tree.map(lambda leaf: leaf[None], function(*part))

        # A mean outside of the parts: the compiler knows how the result is to lie, and reduces
        # a gradient to where it is stored.
        rows = self._each_part(as_row, *arguments)
        return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), rows)

    def _loss_and_gradients(
        self, trained: ByGroup, fixed: ByGroup, tokens_BxT1: jax.Array
    ) -> tuple[jax.Array, ByGroup]:
        own = super()._loss_and_gradients
        mean = self._mean_over_parts(own, trained, fixed, tokens_BxT1)
        return errors_of_whole(mean, math.prod(self._mesh.shape[axis] for axis in BATCH_AXES))

    def _step(self, fixed: ByGroup, hyperparameters: Any, carry: Any, tokens: Any) -> Any:
        carry, metrics = super()._step(fixed, hyperparameters, carry, tokens)
        # The compiler may not store a loop's state otherwise than the program's.
        trained = {group: getattr(self._shardings, group) for group in self.groups}
        lies = (self._shardings.step, trained, self._shardings.optimizer)
        return jax.lax.with_sharding_constraint(carry, lies), metrics

    def _evaluate(
        self, state: TrainState, tokens_NxT1: jax.Array, mask_NxT: jax.Array
    ) -> jax.Array:
        return self._each_part(super()._evaluate, state, tokens_NxT1, mask_NxT)

    def _probe(self, state: TrainState, tokens_BxT1: jax.Array) -> Metrics:
        def squares(state: TrainState, tokens_MxT1: jax.Array) -> Metrics:
            return jax.tree.map(jnp.square, own(state, tokens_MxT1))

        own = super()._probe
        return jax.tree.map(jnp.sqrt, self._mean_over_parts(squares, state, tokens_BxT1))


def _in_host_memory() -> AbstractContextManager[Any]:
    """Where a whole state is drawn: no device of the mesh need have room for more than its part."""
    return jax.default_device(jax.local_devices(backend="cpu")[0])


def _finished(result: Any) -> Any:
    return jax.block_until_ready(result) if jax.process_count() > 1 else result
