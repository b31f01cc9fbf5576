"""Losses over width, to be extrapolated: the mean-field runs of lm_width, and the NTK arm.

The arm is the unfrozen model in the NTK parametrization, which becomes lazy as the width grows;
with 1/H the features keep moving, and the limit is another one. ADAM* on fixed features has the
same kernel in both.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.config.errors import UserError
from infwidth.config.settings import ModelSettings
from infwidth.experiments.infinite_lm import EXTRA, run_row
from infwidth.experiments.lm_width import Entry
from infwidth.training.records import read_result


def ntk_model(model: ModelSettings) -> ModelSettings:
    """The model whose readout starts at M = √H M', M' ~ N(0, 1), where f = H^−½ Σ M'_h g_h."""
    return model.model_copy(update={"readout_init": "ntk"})


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
      UserError: a run's result is gone.
    """
    named = {"mean-field": mean_field, "ntk": ntk}
    rows = [
        {"parametrization": name} | row
        for name, entries in named.items()
        for row in _rows(entries, runs)
    ]
    known = pd.DataFrame(_rows(infinite_lm, runs), columns=pd.DataFrame(rows).columns[1:])
    return {"runs": pd.DataFrame(rows), "known": known}


def _rows(entries: Iterable[Entry], runs: Path) -> list[dict[str, Any]]:
    return [
        run_row(entry, _result(runs, entry["key"]))
        for entry in entries
        if entry["role"] in ("report", EXTRA)
    ]


def _result(runs: Path, key: str) -> dict[str, Any]:
    result = read_result(runs / key)
    if result is None:
        raise UserError(
            f"{runs / key}: this run's result is gone; train it again with `snakemake --cores all "
            "-R train_widths width_limit_train infinite_lm_train`"
        )
    return result
