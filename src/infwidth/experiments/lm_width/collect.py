# SPDX-License-Identifier: Apache-2.0
"""From finished runs to tidy tables of measurements: what tables and figures are drawn from."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.data.tokens import TokenDataset
from infwidth.experiments.lm_width.measured import TABLES
from infwidth.experiments.run_rows import Entry, result_of, row_of
from infwidth.experiments.runs import curve


def collect(entries: Iterable[Entry], dataset: TokenDataset, runs: Path) -> dict[str, pd.DataFrame]:
    """The tables `runs`, `documents` and `curves`.

    Args:
      entries: what `infwidth tune` and `infwidth train` wrote of each run.
      dataset: the tokens, for the names of the test documents.
      runs: the folder of runs.

    Raises:
      LostRun: a run's record is damaged or gone.
    """
    entries = list(entries)
    results = {entry["key"]: result_of(entry["key"], runs) for entry in entries}
    reported = sorted({entry["key"] for entry in entries if entry["role"] == "report"})
    rows = {
        "runs": (_run_row(entry, results[entry["key"]]) for entry in entries),
        "documents": (
            row for key in reported for row in _document_rows(key, results[key], dataset)
        ),
        "curves": (row for key in reported for row in curve(key, runs)),
    }
    return {name: table.frame(rows[name]) for name, table in TABLES.items()}


def _run_row(entry: Entry, result: dict[str, Any]) -> dict[str, Any]:
    return row_of(entry, result) | {
        **{f"parameters_{group}": count for group, count in result["parameters"].items()},
        "parameters_trained": result["parameters_trained"],
        "optimizer_state_bytes": result["optimizer_bytes"],
    }


def _document_rows(
    key: str, result: dict[str, Any], dataset: TokenDataset
) -> Iterator[dict[str, Any]]:
    documents = result.get("test_documents", {"document": [], "loss_sum": [], "tokens": []})
    names = dataset.split("test").document_names()
    columns = zip(*(documents[c] for c in ("document", "loss_sum", "tokens")), strict=True)
    for document, loss_sum, tokens in columns:
        row = {"document": document, "name": names[document], "loss_sum": loss_sum}
        yield {"key": key, "tokens": tokens} | row
