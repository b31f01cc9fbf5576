# SPDX-License-Identifier: Apache-2.0
"""From finished runs to tidy tables of measurements: what tables and figures are drawn from."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.code_digest import code_digest
from infwidth.config.settings import Settings
from infwidth.data.tokens import TokenDataset
from infwidth.experiments.lm_width.measured import TABLES
from infwidth.experiments.recording import write_measurements
from infwidth.experiments.run_origins import run_origins
from infwidth.experiments.run_rows import Entry, result_of, row_of, rows_of
from infwidth.provenance import MADE_BY, made_by
from infwidth.stored import read_json, write_json


def collect(
    settings: Settings,
    dataset: TokenDataset,
    runs: Path,
    tuning: Iterable[Path],
    trained: Iterable[Path],
    out: Path,
) -> None:
    """Writes runs, curves and documents as parquet, the selection and the settings as JSON.

    Args:
      settings: what the experiment ran with.
      dataset: the tokens, for the names of the test documents.
      runs: the folder of runs.
      tuning: files that `infwidth tune` wrote.
      trained: files that `infwidth train` wrote.
      out: folder to write; see `infwidth.experiments.lm_width.measured` for the columns.

    Raises:
      LostRun: a run's record is damaged or gone.
    """
    tuned = {
        path.stem: read_json(path, "infwidth tune", ("selection", "entries")) for path in tuning
    }
    entries = [entry for content in tuned.values() for entry in content["entries"]]
    for path in trained:
        entries += read_json(path, "infwidth train", ("entries",))["entries"]
    results = {entry["key"]: result_of(entry["key"], runs) for entry in entries}
    reported = sorted({entry["key"] for entry in entries if entry["role"] == "report"})
    rows = {
        "runs": [_run_row(entry, results[entry["key"]]) for entry in entries],
        "documents": [
            row for key in reported for row in _document_rows(key, results[key], dataset)
        ],
        "curves": [row for key in reported for row in _curve_rows(key, runs)],
    }
    write_measurements(
        out,
        {
            name: pd.DataFrame(rows[name], columns=list(table.columns))
            for name, table in TABLES.items()
        },
        settings.model_dump(mode="json", exclude={"retrain"})
        | {
            "corpus": dataset.manifest["corpus"]["statement"]["text"],
            "runs": run_origins(runs, reported),
            MADE_BY: made_by(code_digest([__name__]), ("numpy", "pandas", "pyarrow")),
        },
    )
    selection = {name: content["selection"] for name, content in tuned.items()}
    if "constant" in selection:
        selection["trunk"] = selection.pop("constant")
    write_json(out / "selection.json", selection)


def _run_row(entry: Entry, result: dict[str, Any]) -> dict[str, Any]:
    return row_of(entry, result) | {
        # Whole numbers, since none is infinite here.
        "width": entry["width"],
        **{f"parameters_{group}": count for group, count in result["parameters"].items()},
        "parameters_trained": result["parameters_trained"],
        "optimizer_state_bytes": result["optimizer_bytes"],
    }


def _document_rows(key: str, result: dict[str, Any], dataset: TokenDataset) -> list[dict]:
    documents = result.get("test_documents", {"document": [], "loss_sum": [], "tokens": []})
    names = dataset.split("test").document_names()
    columns = zip(*(documents[c] for c in ("document", "loss_sum", "tokens")), strict=True)
    return [
        {"key": key, "document": d, "name": names[d], "loss_sum": loss_sum, "tokens": tokens}
        for d, loss_sum, tokens in columns
    ]


def _curve_rows(key: str, runs: Path) -> list[dict]:
    return [
        {
            "key": key,
            "step": row["step"],
            "loss": math.nan if row["loss"] is None else row["loss"],
            "learning_rate": row["learning_rate/trunk"],
        }
        for row in rows_of(key, runs)
    ]
