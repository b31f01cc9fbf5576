# SPDX-License-Identifier: Apache-2.0
"""The scales of measured features, where they are measured before training.

Shapes: B sequences of T + 1 tokens, D residual stream, H width, E outputs, N = B·T tokens.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding

from infwidth.data.batches import Batches
from infwidth.models.features import FeatureMLP
from infwidth.models.variables import Parameters
from infwidth.training.mesh import place
from infwidth.training.step import Program, TrainState

if TYPE_CHECKING:
    from infwidth.training.spec import RunSpec

OTHER_SEED = 1_000_000
"""What is added to a run's seed for the stream `other`."""


def with_measured_scales(
    spec: "RunSpec", program: Program, state: TrainState, batches: Batches
) -> TrainState:
    """The state of a run before its first step, with the scales that are measured by then.

    They are measured on the first batches of the run, with its parameters as drawn and M = 0; on
    the stream `other` with the same features in a trunk of another seed, on that seed's batches.

    Args:
      spec: what the run is.
      program: its compiled functions.
      state: before the first step.
      batches: the run's.

    Returns:
      The state; as it was where scales are measured while training.
    """
    scales = spec.training.scales
    if scales.hold_after != 0:
        return state
    start = state
    if scales.stream == "other":
        seed = spec.seed + OTHER_SEED
        start, batches = program.init(seed)._replace(features=state.features), batches.of_seed(seed)
    start = start._replace(readout=jax.tree.map(jnp.zeros_like, start.readout))
    of_batch: Callable[..., Parameters] = partial(_gradient_squares, program)
    if scales.source == "activation":
        of_batch = jax.jit(partial(_activation_squares, program))
    total_H = {name: np.zeros(len(m_HxE)) for name, m_HxE in state.readout.items()}
    for step in range(scales.batches):
        for name, square_H in of_batch(start, batches.at(step)).items():
            total_H[name] += np.asarray(square_H, np.float64)
    if scales.permuted:
        rng = np.random.default_rng(spec.seed)
        total_H = {name: rng.permutation(total_H[name]) for name in sorted(total_H)}
    measured = {name: square_H / scales.batches for name, square_H in total_H.items()}
    old = optax.tree.get(state.optimizer["readout"], "mean_square")
    readout = optax.tree.set(
        state.optimizer["readout"], mean_square=jax.tree.map(_as_it_lies, measured, old)
    )
    return state._replace(optimizer={**state.optimizer, "readout": readout})


def _gradient_squares(
    program: Program, state: TrainState, tokens_BxT1: np.ndarray
) -> dict[str, jax.Array]:
    """The mean of G² over the outputs, for each unit of each readout."""
    gradients = program.functional_gradients(state, tokens_BxT1)
    return {name: jnp.mean(jnp.square(g_HxE), axis=1) for name, g_HxE in gradients.items()}


def _activation_squares(program: Program, state: TrainState, tokens_BxT1: jax.Array) -> Parameters:
    """The mean of g² over the tokens, for each unit of each readout."""
    squares: Parameters = {}

    def spy(layer: FeatureMLP, name: str, x_DxN: jax.Array) -> jax.Array:
        squares[f"{name}/m_HxE"] = jnp.mean(jnp.square(layer.features(x_DxN)), axis=1)
        return layer(x_DxN)

    model = program.model(state)
    if model.has_mlp:
        model.mlp = partial(spy, cast(FeatureMLP, model.mlp), "mlp")
    for index, block in enumerate(model.blocks):
        if block.has_mlp:
            block.mlp = partial(spy, cast(FeatureMLP, block.mlp), f"blocks/{index}/mlp")
    # Who observes has each block computed once, and not in the form that is computed again.
    model(tokens_BxT1[:, :-1], lambda *_: None)
    return squares


def _as_it_lies(value: np.ndarray, like: jax.Array) -> jax.Array:
    """An array in the type of another, where that lies."""
    host = value.astype(like.dtype)
    lies = like.sharding
    return place(host, lies) if isinstance(lies, NamedSharding) else jnp.asarray(host)
