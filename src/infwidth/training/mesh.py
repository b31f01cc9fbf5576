# SPDX-License-Identifier: Apache-2.0
"""Where the arrays of one run lie, when several devices share it.

Axes of the mesh: `data` and `fsdp` split a batch; `fsdp` also splits the storage of parameters and
optimizer state; `width` splits every array that has the MLPs' width, along it.

Shapes: B batch, H width.
"""

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from infwidth.config.errors import UserError
from infwidth.config.section import MeshSettings

BATCH_AXES = ("data", "fsdp")
"""Axes that split a batch, outermost first."""

WHOLE = PartitionSpec()
"""Every device holds all of an array."""


def device_mesh(settings: MeshSettings, batch_size: int, width: int) -> jax.sharding.Mesh:
    """Makes the mesh of a run.

    Args:
      settings: devices along each axis.
      batch_size: B.
      width: H; 0 where there are no MLPs.

    Returns:
      A mesh with the axes `data`, `fsdp` and `width`, over the first devices that there are.

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
