# SPDX-License-Identifier: Apache-2.0
"""Losses over width, to be extrapolated: the mean-field runs of lm_width, and the NTK arm.

The arm is the unfrozen model in the NTK parametrization, which becomes lazy as the width grows;
with 1/H the features keep moving, and the limit is another one. ADAM* on fixed features has the
same kernel in both.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.experiments.infinite_lm.measure import EXTRA
from infwidth.experiments.run_rows import Entry, run_row


def gather(
    mean_field: Iterable[Entry], ntk: Iterable[Entry], infinite_lm: Iterable[Entry], runs: Path
) -> dict[str, pd.DataFrame]:
    """The tables `runs` and `known`.

    Args:
      mean_field: entries of `infwidth train`.
      ntk: entries of the arm in the NTK parametrization.
      infinite_lm: entries of the variants that ran at infinite width, too.
      runs: the folder of runs.

    Returns:
      `runs`: a row a reported run, with its parametrization, `mean-field` or `ntk`.
      `known`: the same of the runs whose limit is known, where width inf is the limit.

    Raises:
      LostRun: a run's record is damaged or gone.
    """
    rows = [
        {"parametrization": name} | row
        for name, entries in (("mean-field", mean_field), ("ntk", ntk))
        for row in _rows(entries, runs)
    ]
    known = _rows(infinite_lm, runs)
    columns = [name for name in rows[0] if name != "parametrization"]
    return {"runs": pd.DataFrame(rows), "known": pd.DataFrame(known, columns=columns)}


def _rows(entries: Iterable[Entry], runs: Path) -> list[dict[str, Any]]:
    return [run_row(entry, runs) for entry in entries if entry["role"] in ("report", EXTRA)]
