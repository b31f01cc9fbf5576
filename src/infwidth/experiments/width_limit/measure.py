# SPDX-License-Identifier: Apache-2.0
"""Losses over width, to be extrapolated: the mean-field runs of lm_width, and the NTK arm.

The arm is the unfrozen model in the NTK parametrization, which becomes lazy as the width grows;
with 1/H the features keep moving, and the limit is another one. ADAM* on fixed features has the
same kernel in both.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.experiments.run_rows import Entry, run_row
from infwidth.experiments.width_limit.measured import TABLES
from infwidth.experiments.width_limit.plan import TUNED

Made = dict[str, Any]
"""What a command that trains wrote."""


def gather(
    parts: Mapping[str, Made], others: Mapping[str, Mapping[Path, Made]], runs: Path
) -> dict[str, pd.DataFrame]:
    """The tables `runs` and `known`.

    Args:
      parts: by name, of the arm in the NTK parametrization.
      others: by kind and file, as `infwidth.experiments.width_limit.plan.others` names them.
      runs: the folder of runs.

    Returns:
      `runs`: a row a reported run, with its parametrization, `mean-field` or `ntk`.
      `known`: the same of the runs whose limit is known, where width inf is the limit.

    Raises:
      LostRun: a run's record is damaged or gone.
    """
    known = [part for made in others["known"].values() for part in made["parts"]]
    rows = {
        "runs": [
            {"parametrization": name} | run_row(entry, runs)
            for name, some in (("mean-field", others["trained"].values()), ("ntk", parts.values()))
            for entry in _reported(some)
        ],
        "known": [run_row(entry, runs) for entry in _reported(known)],
    }
    return {name: table.frame(rows[name]) for name, table in TABLES.items()}


def choices(parts: Mapping[str, Made], others: Mapping[str, Mapping[Path, Made]]) -> dict[str, Any]:
    """What tuning chose: by variant, and in the NTK parametrization."""
    return {
        "selection": {path.stem: made["selection"] for path, made in others["tuned"].items()},
        "selection_ntk": parts[TUNED]["selection"],
    }


def _reported(parts: Iterable[Made]) -> list[Entry]:
    entries = (entry for part in parts for entry in part["entries"])
    return [entry for entry in entries if entry["role"] in ("report", "extra")]
