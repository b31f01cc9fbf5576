# SPDX-License-Identifier: Apache-2.0
"""Synthetic measurements as an experiment would have written them."""

from pathlib import Path

import pandas as pd

from infwidth.catalogue import schemas
from infwidth.stored import write_json


def write_table(folder: Path, experiment: str, name: str, rows) -> None:
    """Writes a table; the columns that the rows lack are 0, since no test looks at them."""
    table = pd.DataFrame(rows)
    for column in schemas(experiment)[name].columns:
        if column not in table:
            table[column] = 0
    table.to_parquet(folder / f"{name}.parquet")


def write_measurements(folder: Path, experiment: str, tables, **settings) -> Path:
    """Writes all tables of an experiment, by name, and its settings; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        write_table(folder, experiment, name, rows)
    write_json(folder / "settings.json", {"name": "synthetic", "commit": "0" * 40, **settings})
    return folder
