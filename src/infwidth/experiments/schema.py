# SPDX-License-Identifier: Apache-2.0
"""The tables that experiments measure: each column and its role, once.

Writer, reader, the workflow's outputs and `infwidth compare` all take them from here, or from the
`TABLES` of an experiment's module `measured`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

RATES = ("learning_rate", "kappa", "trunk_learning_rate")
SEED = ("seed",)
PARAMETERS = ("trunk", "features", "readout", "trained")

_KINDS = {
    **dict.fromkeys(("key", "condition", "role", "variant"), "str"),
    **dict.fromkeys(("status", "device", "name", "rule", "kernel"), "str"),
    **dict.fromkeys(("width", "seed", "steps", "tokens", "step", "document"), "int64"),
    **dict.fromkeys((f"parameters_{kind}" for kind in PARAMETERS), "int64"),
    "optimizer_state_bytes": "int64",
}


@dataclass(frozen=True)
class Table:
    """The columns of a table by their role, and how they are compared with published ones.

    Attributes:
        arm: what was done; together with `repeat` and `within` they name a row.
        repeat: what makes independent repeats of an arm, such as the seed.
        within: parts of one repeat, over which outcomes are averaged before they are tested.
        choice: what tuning chose. It names a row of a trial, too, but not one of a reported run.
        outcomes: what training leads to; judged by the arms' means.
        counted: whole numbers that are the same on every platform.
        loose: hashes of runs, times, devices: never compared.
        shown: all others, which are compared, but not judged.
        close: without repeats, how far apart outcomes may be, in units of their rms over the
            table; None where they are not judged.
        by_run: rows are named by their run's `key`, whose arm stands in the table `runs`.
    """

    arm: tuple[str, ...]
    repeat: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
    choice: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    close: float | None = None
    by_run: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns."""
        return (
            *(*self.loose, *self.arm, *self.choice, *self.repeat, *self.within),
            *(*self.shown, *self.outcomes, *self.counted),
        )

    def frame(self, rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
        """The rows as a table of these columns, in float64 where no other kind is known.

        So is the width where one is infinite.
        """
        kinds = {name: _KINDS.get(name, "float64") for name in self.columns}
        table = pd.DataFrame(list(rows), columns=list(kinds))
        if "width" in kinds and np.isinf(table["width"].astype("float64")).any():
            kinds["width"] = "float64"
        return table.astype(kinds)

    def named_by(self, runs: "Table") -> "Table":
        """This table of the rows of runs, joined with the table of runs."""
        return replace(
            self, arm=runs.arm + self.arm, repeat=runs.repeat + self.repeat, choice=runs.choice
        )


def runs_table(
    *arm: str,
    counted: tuple[str, ...] = ("steps", "tokens", "flops"),
    shown: tuple[str, ...] = ("status", "train_loss", "validation_loss", "sgd_unit"),
    loose: tuple[str, ...] = ("key", "device_seconds", "device"),
) -> Table:
    """A table of training runs, a row each; losses in nats per token, NaN for what there is not."""
    return Table(
        ("role", *arm, "width"),
        SEED,
        choice=RATES,
        outcomes=("test_loss",),
        counted=counted,
        loose=loose,
        shown=shown,
    )


CURVES = Table(("step",), outcomes=("loss",), loose=("key",), by_run=True)
"""Training loss of the reported runs over stretches of steps, of which `step` is the last."""

STUDY = {"runs": runs_table("condition", "variant"), "curves": CURVES}
"""What a study measures, by name.

Its roles are `trunk` (the check of the trunk's rate), `tuning` (the search), `check` (of its choice
at full length) and `report`."""
