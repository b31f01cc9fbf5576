# SPDX-License-Identifier: Apache-2.0
"""The three groups of parameters, each a variable type of its own, and the split into them."""

from typing import NamedTuple, TypeVar

import jax
from flax import nnx

Model = TypeVar("Model", bound=nnx.Module)

Parameters = dict[str, jax.Array]
"""The parameters of one group, by path: `blocks/0/attention/out`."""


class Trunk(nnx.Variable):
    """Everything outside the MLPs: embeddings, attention, norms, head."""


class Features(nnx.Variable):
    """The features' parameters ω; axis 0 is the MLP's width."""


class Readout(nnx.Variable):
    """The readout M; axis 0 is the MLP's width. Or its tap, which is in no program's state."""


class Groups(NamedTuple):
    """The parameters of a model by group; a model without MLPs has empty features and readout."""

    trunk: Parameters
    features: Parameters
    readout: Parameters


GROUP_OF_TYPE: dict[type, str] = {Trunk: "trunk", Features: "features", Readout: "readout"}


def split(model: Model) -> tuple[nnx.GraphDef[Model], Groups]:
    """Takes a model apart into its structure, for `merge`, and its parameters by group.

    Raises:
      TypeError: a variable is of none of the three types itself: a subclass, an `nnx.Param` or any
        other belongs to no group, and would train by no rule.
    """
    structure, state = nnx.split(model)
    groups: dict[str, Parameters] = {name: {} for name in Groups._fields}
    for path, variable in nnx.to_flat_state(state):
        name = "/".join(map(str, path))
        if type(variable) not in GROUP_OF_TYPE:
            raise TypeError(
                f"parameter {name} is a {type(variable).__name__}, which is in no group; "
                "make it a Trunk, Features or Readout"
            )
        groups[GROUP_OF_TYPE[type(variable)]][name] = variable.get_value()
    return structure, Groups(**groups)


def merge(structure: nnx.GraphDef[Model], groups: Groups) -> Model:
    """Puts a model together again: the inverse of `split`, at no cost under `jax.jit`."""
    leaves = {
        tuple(int(part) if part.isdigit() else part for part in name.split("/")): kind(value)
        for kind, group in GROUP_OF_TYPE.items()
        for name, value in getattr(groups, group).items()
    }
    return nnx.merge(structure, nnx.from_flat_state(leaves))
