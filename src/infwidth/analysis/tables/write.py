"""Writes tables by name; a table's module is imported only then, so that one can change alone."""

import importlib
from collections.abc import Iterable
from pathlib import Path

from infwidth.analysis.measurements import Measurements
from infwidth.analysis.tables.table import Table, write_table
from infwidth.catalogue import TABLES, table_module


def build(name: str, measured: Measurements) -> Table:
    """Makes one table, by its name in the catalogue."""
    return importlib.import_module(table_module(name)).build(measured)


def write_tables(
    measurements_folder: Path | str, out_folder: Path | str, names: Iterable[str] = tuple(TABLES)
) -> list[Path]:
    """Writes the tables named, all by default, and returns the files.

    Args:
        measurements_folder: as the experiment wrote it.
        out_folder: gets `<name>.csv`, `.md` and `.tex`; made if need be.
        names: keys of `infwidth.catalogue.TABLES`.

    Raises:
        UserError: the measurements are incomplete.
    """
    measured = Measurements.load(measurements_folder)
    written = []
    for name in names:
        written += write_table(build(name, measured), Path(out_folder) / name)
    return written
