"""Writes a table by its name; its module is imported only then, so that one can change alone."""

import importlib
from pathlib import Path
from typing import Any

from infwidth.analysis.tables.table import Table, write_table
from infwidth.catalogue import TABLES, reader, table_module
from infwidth.config.errors import UserError


def build(name: str, measured: Any) -> Table:
    """Makes one table, by its name in the catalogue, from what its experiment measured."""
    return importlib.import_module(table_module(name)).build(measured)


def build_and_write(
    name: str, measurements_folder: Path | str, out_folder: Path | str
) -> list[Path]:
    """Makes one table from a folder of measurements and writes its files.

    Args:
        name: a key of `infwidth.catalogue.TABLES`.
        measurements_folder: as the experiment wrote it.
        out_folder: gets `<name>.csv`, `.md` and `.tex`; made if need be.

    Raises:
        UserError: no such table, or incomplete measurements.
    """
    if name not in TABLES:
        raise UserError(f"no table is called '{name}'; there are {', '.join(TABLES)}")
    measured = importlib.import_module(reader(TABLES[name])).load(measurements_folder)
    return write_table(build(name, measured), Path(out_folder) / name)
