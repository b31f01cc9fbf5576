# SPDX-License-Identifier: Apache-2.0
"""Trained readouts on disk: `<name>.json`, and the arrays that it names beside it.

The JSON file is replaced last and holds the digest of the arrays, which stand under a name of their
own; so a kill at any point leaves the old readout or the new one.
"""

import hashlib
import io
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from infwidth.atomic import replacing_file
from infwidth.config.errors import UserError
from infwidth.infinite.gradient import KernelTransformation
from infwidth.infinite.readout import Kernel, Readout, ReadoutState
from infwidth.stored import read_json, write_json

_KEYS = ("arrays", "sha256", "examples", "dimension", "outputs", "dtype", "optimizer")


def save(path: Path | str, readout: Readout, state: ReadoutState) -> None:
    """Writes the examples, the coefficients and the state of the optimizer, but not the kernel.

    Args:
      path: the JSON file; the arrays get `<stem>-<digest>.npz` beside it, and those of a readout
        that stood there before are removed.
      readout: whose examples these are.
      state: as `Readout.train` returned it.

    Raises:
      UserError: the disk is full, or the folder cannot be written to.
    """
    path = Path(path)
    arrays: dict[str, Any] = {"x_NxD": readout.x_NxD, "c_NxE": state.coefficients_NxE}
    arrays |= {f"optimizer_{i}": leaf for i, leaf in enumerate(jax.tree.leaves(state.optimizer))}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    beside = path.with_name(f"{path.stem}-{digest[:16]}.npz")
    with replacing_file(beside) as temporary:
        temporary.write_bytes(content)
    examples, dimension = readout.x_NxD.shape
    record = {
        "arrays": beside.name,
        "sha256": digest,
        "examples": examples,
        "dimension": dimension,
        "outputs": readout.outputs,
        "dtype": str(readout.dtype),
        "optimizer": _structure(state.optimizer),
    }
    write_json(path, record)
    for old in path.parent.glob(f"{path.stem}-{'[0-9a-f]' * 16}.npz"):
        if old != beside:
            old.unlink()


def load(
    path: Path | str, kernel: Kernel, solver: KernelTransformation, **options: Any
) -> tuple[Readout, ReadoutState]:
    """Reads what `save` wrote.

    Args:
      path: the JSON file.
      kernel: Θ, which is not in the file.
      solver: the rule that it was trained by, to go on with.
      options: further arguments of `Readout`.

    Returns:
      The readout, and a state from which `Readout.train` goes on as if it had never ended.

    Raises:
      UserError: a file is missing or damaged, or another rule or precision wrote it.
    """
    path = Path(path)
    record = read_json(path, "infinite.save", _KEYS)
    beside = path.with_name(record["arrays"])
    try:
        content = beside.read_bytes()
    except OSError as error:
        raise UserError(
            f"{beside}: cannot be read ({error.strerror}); it belongs to {path}, save it again"
        ) from None
    if hashlib.sha256(content).hexdigest() != record["sha256"]:
        raise UserError(f"{beside} is damaged: delete it and {path}, and save the readout again")
    with np.load(io.BytesIO(content)) as arrays:
        x_NxD, c_NxE = jnp.asarray(arrays["x_NxD"]), jnp.asarray(arrays["c_NxE"])
        leaves = [
            jnp.asarray(arrays[f"optimizer_{i}"])
            for i in range(sum(name.startswith("optimizer_") for name in arrays.files))
        ]
    readout = Readout(kernel, x_NxD, record["outputs"], **options)
    if str(c_NxE.dtype) != record["dtype"] or str(readout.dtype) != record["dtype"]:
        raise UserError(
            f"{path} was saved in {record['dtype']} and is read in {readout.dtype}; set "
            "jax_enable_x64 as it was then, and give the kernel that it was trained with"
        )
    fresh = readout.init(solver)
    if _structure(fresh.optimizer) != record["optimizer"]:
        raise UserError(f"{path} was trained by another rule; give `load` the one it was")
    optimizer = jax.tree.unflatten(jax.tree.structure(fresh.optimizer), leaves)
    return readout, ReadoutState(c_NxE, optimizer)


def _structure(optimizer: Any) -> list[str]:
    """Names, shapes and types of an optimizer's state, as text."""
    return [
        f"{jax.tree_util.keystr(path)} {leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(optimizer)
    ]
