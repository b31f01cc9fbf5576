# SPDX-License-Identifier: Apache-2.0
"""Measurements as a handful of tables and the settings that they were made with."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth.config.errors import UserError
from infwidth.experiments.schema import Table
from infwidth.stats.effects import GapClosed, RatioEffect
from infwidth.stored import digest, read_columns, read_record

SETTINGS = "settings.json"
SETTINGS_KEYS = ("name", "commit")


@dataclass(frozen=True)
class MeasuredTables:
    """A folder of measurements: its tables by name, and the effective settings.

    `digests` are the sha256 of each file read.
    """

    folder: Path
    tables: dict[str, pd.DataFrame]
    settings: dict[str, Any]
    digests: dict[str, str]

    @classmethod
    def load(cls, folder: Path | str, schema: Mapping[str, Table], *keys: str) -> "MeasuredTables":
        """Reads and checks a folder of measurements.

        Args:
            folder: as `infwidth.experiments.parts.write_measurements` wrote it.
            schema: of each table by name.
            keys: what the settings must have besides name and commit.

        Raises:
            UserError: a file is missing or unreadable, or lacks a column or key.
        """
        folder = Path(folder)
        files = [*(f"{name}.parquet" for name in schema), SETTINGS]
        digests = {name: digest(folder / name) for name in files}
        tables = {
            name: read_columns(folder / f"{name}.parquet", table.columns)
            for name, table in schema.items()
        }
        settings = read_record(folder / SETTINGS, (*SETTINGS_KEYS, *keys))
        return cls(folder, tables, settings, digests)

    def require_known(self, table: str, **names: Iterable[str]) -> None:
        """Refuses a table that holds others than these names in a column.

        Raises:
            UserError: the first name that is not known.
        """
        for column, known in names.items():
            strange = sorted(set(self.tables[table][column]) - set(known))
            if strange:
                raise UserError(
                    f"{self.folder / table}.parquet: column '{column}' holds '{strange[0]}'; "
                    f"allowed are {', '.join(known)}"
                )

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
    """What an experiment of a few tables measured; subclasses read answers from them."""

    measured: MeasuredTables
    _known: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    def provenance(self) -> dict[str, Any]:
        """What a figure or table was made from: files with digests, settings, commit."""
        return self.measured.provenance()

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that the experiment ran with."""
        return self.measured.settings

    @property
    def confidence(self) -> float:
        """Of every interval."""
        return float(self.measured.settings["statistics"]["confidence"])

    def rows(self, table: str, **place: Any) -> pd.DataFrame:
        """The rows of a table at a place, such as `variant="ntk", width=256`."""
        rows = self.measured.tables[table]
        if not place:
            return rows
        return rows.iloc[self._places(table, tuple(place)).get(tuple(place.values()), [])]

    def _places(self, table: str, columns: tuple[str, ...]) -> dict[tuple, Any]:
        """By the values of some columns, where the rows that have them stand; made once."""
        known = self._known.setdefault((table, columns), {})
        if not known:
            groups = self.measured.tables[table].groupby(list(columns), sort=False).indices
            known |= {k if isinstance(k, tuple) else (k,): v for k, v in groups.items()}
        return known

    def by_seed(self, table: str, value: str, **place: Any) -> dict[int, float]:
        """A value of the runs at a place, by seed; those that diverged are left out."""
        rows = self.rows(table, **place)
        if "status" in rows:
            rows = rows[rows["status"] == "done"]
        found = zip(rows["seed"], rows[value], strict=True)
        return {int(seed): float(x) for seed, x in sorted(found) if math.isfinite(x)}

    def share_of_gap(
        self, losses: Sequence[Mapping[int, float]], seeds: Sequence[int]
    ) -> GapClosed | None:
        """(L_ntk − L) / (L_ntk − L_frozen) with Fieller's interval, paired by seed.

        Losses are those of the NTK, of the variant in question, and of frozen features; the share
        is None where one is missing.
        """
        effect = RatioEffect.of_gap("", losses, seeds)
        if effect.lost:
            return None
        fraction = float(self.measured.settings["statistics"]["gap_fraction"])
        return effect.closed(self.confidence, fraction)
