# SPDX-License-Identifier: Apache-2.0
"""The tables that a study measures: each column with its kind and its role, once.

Writer, reader, the workflow's outputs and `infwidth compare` all take them from here.
"""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import pandas as pd

Role = Literal["arm", "repeat", "choice", "outcome", "counted", "loose", "shown"]
"""As in `infwidth.analysis.cells`: what names a row, is judged, is never compared; or the rest."""


class Column(NamedTuple):
    """A column's pandas type, and its role in a comparison."""

    kind: str
    role: Role


class Table(NamedTuple):
    """A table's columns by name, in order; `by_run` if `runs` says whose rows they are."""

    columns: dict[str, Column]
    by_run: bool = False

    def frame(self, rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
        """The rows as a table of these columns and kinds."""
        kinds = {name: column.kind for name, column in self.columns.items()}
        return pd.DataFrame(list(rows), columns=list(kinds)).astype(kinds)

    def of(self, role: Role) -> tuple[str, ...]:
        """The names of the columns of a role."""
        return tuple(name for name, column in self.columns.items() if column.role == role)


RUNS = Table(
    {
        "key": Column("str", "loose"),
        "condition": Column("str", "arm"),
        "role": Column("str", "arm"),
        "variant": Column("str", "arm"),
        "width": Column("int64", "arm"),
        "learning_rate": Column("float64", "choice"),
        "kappa": Column("float64", "choice"),
        "trunk_learning_rate": Column("float64", "choice"),
        "seed": Column("int64", "repeat"),
        "status": Column("str", "shown"),
        "steps": Column("int64", "counted"),
        "train_loss": Column("float64", "shown"),
        "validation_loss": Column("float64", "shown"),
        "test_loss": Column("float64", "outcome"),
        "sgd_unit": Column("float64", "shown"),
        "tokens": Column("int64", "counted"),
        "flops": Column("float64", "counted"),
        "device_seconds": Column("float64", "loose"),
        "device": Column("str", "loose"),
    }
)
"""One row a run in a condition and role; losses in nats per token, NaN for what there is not.

Roles are `trunk` (the check of the trunk's rate), `tuning` (the search), `check` (of its choice at
full length) and `report`."""

CURVES = Table(
    {
        "key": Column("str", "loose"),
        "step": Column("int64", "arm"),
        "loss": Column("float64", "outcome"),
    },
    by_run=True,
)
"""Training loss of the reported runs over stretches of steps, of which `step` is the last."""

TABLES = {"runs": RUNS, "curves": CURVES}
"""By name, `<name>.parquet`."""
