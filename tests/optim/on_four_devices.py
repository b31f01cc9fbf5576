# SPDX-License-Identifier: Apache-2.0
"""Run by itself: on four devices states lie as updates do, in every kind of mesh, and in a scan."""

import os

from tests.conftest import QUICK

os.environ["XLA_FLAGS"] = " ".join(["--xla_force_host_platform_device_count=4", *QUICK])

import jax
import jax.numpy as jnp
import optax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from infwidth.optim import Stacked, clip_by_functional_norm, scale_by_width
from tests.optim.test_transformation import STARRED

AXES = {"matrix": None, "stack": Stacked(1)}


def params_on(mesh):
    shapes = {"matrix": (8, 4), "stack": (2, 8, 4)}
    specs = {"matrix": P("x", "y"), "stack": P(None, "x", "y")}
    return {
        name: jax.device_put(
            jnp.sin(jnp.arange(float(jnp.prod(jnp.array(shape))))).reshape(shape),
            NamedSharding(mesh, specs[name]),
        )
        for name, shape in shapes.items()
    }


def check(name, kind):
    mesh = jax.make_mesh((2, 2), ("x", "y"), axis_types=(kind,) * 2)
    with jax.set_mesh(mesh):
        params = params_on(mesh)
        solver = optax.chain(
            scale_by_width(AXES),
            clip_by_functional_norm(1.0, AXES),
            STARRED[name](0.1, width_axis=AXES),
        )
        state = solver.init(params)

        def step(state, _):
            updates, state = solver.update(params, state, params)
            return state, updates

        _, new_state = jax.jit(solver.update)(params, state, params)
        for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(new_state), strict=True):
            assert jax.typeof(old) == jax.typeof(new), (name, old, new)
            if old.ndim:
                assert old.sharding.is_equivalent_to(new.sharding, old.ndim), (
                    name,
                    kind,
                    old.sharding,
                    new.sharding,
                )
        _, updates = jax.lax.scan(step, state, length=2)
        return jax.tree.map(lambda leaf: jax.device_get(leaf), updates)


for name in STARRED:
    for kind in (AxisType.Explicit, AxisType.Auto):
        check(name, kind)
