# SPDX-License-Identifier: Apache-2.0
"""Measurements as a handful of tables and the settings that they were made with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.experiments.schema import Table
from infwidth.reading import digest, read_json, read_table

SETTINGS = "settings.json"
SETTINGS_KEYS = ("name", "commit")


@dataclass(frozen=True)
class MeasuredTables:
    """What an experiment of a few tables measured.

    Attributes:
        folder: where it was read from.
        tables: by name, `<name>.parquet`.
        settings: the effective settings, with the configuration's name and the commit.
        digests: sha256 of each file read, by name.
    """

    folder: Path
    tables: dict[str, pd.DataFrame]
    settings: dict[str, Any]
    digests: dict[str, str]

    @classmethod
    def load(cls, folder: Path | str, schema: Mapping[str, Table], *keys: str) -> "MeasuredTables":
        """Reads and checks a folder of measurements.

        Args:
            folder: as `infwidth.experiments.recording.write_measurements` wrote it.
            schema: of each table by name.
            keys: what the settings must have besides name and commit.

        Raises:
            UserError: a file is missing or unreadable, or lacks a column or key.
        """
        folder = Path(folder)
        files = [*(f"{name}.parquet" for name in schema), SETTINGS]
        digests = {name: digest(folder / name) for name in files}
        tables = {
            name: read_table(folder / f"{name}.parquet", table.columns)
            for name, table in schema.items()
        }
        settings = read_json(folder / SETTINGS, (*SETTINGS_KEYS, *keys))
        return cls(folder, tables, settings, digests)

    def provenance(self) -> dict[str, Any]:
        """What a figure or table was made from: files with digests, settings, commit."""
        return {
            "inputs": self.digests,
            "configuration": self.settings["name"],
            "commit": self.settings["commit"],
            "settings": self.settings,
        }


@dataclass(frozen=True)
class Experiment:
    """What an experiment of a few tables measured; subclasses read answers from them.

    Attributes:
        measured: its tables, checked.
    """

    measured: MeasuredTables

    def provenance(self) -> dict[str, Any]:
        """What a figure or table was made from: files with digests, settings, commit."""
        return self.measured.provenance()

    @property
    def confidence(self) -> float:
        """Of every interval."""
        return float(self.measured.settings["statistics"]["confidence"])
