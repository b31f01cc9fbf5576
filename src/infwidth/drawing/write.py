# SPDX-License-Identifier: Apache-2.0
"""Writes a table by its name; its module is imported only then, so that one can change alone."""

import importlib
from pathlib import Path
from typing import Any

from infwidth.catalogue import TABLES, picture_module, reader, table_code
from infwidth.code_digest import code_digest
from infwidth.config.errors import UserError
from infwidth.drawing.table import Table, write_table
from infwidth.provenance import MADE_BY, made_by


def build(name: str, measured: Any) -> Table:
    """Makes one table, by its name in the catalogue, from what its experiment measured."""
    return importlib.import_module(picture_module(name)).build(measured)


def build_and_write(
    name: str, measurements_folder: Path | str, out_folder: Path | str
) -> list[Path]:
    """Makes one table from a folder of measurements and writes its files.

    Args:
        name: a key of `infwidth.catalogue.TABLES`.
        measurements_folder: as the experiment wrote it.
        out_folder: gets `<name>.csv`, `.md`, `.tex`, and `.json` with what they were made from;
            made if need be.

    Raises:
        UserError: no such table, or incomplete measurements.
    """
    if name not in TABLES:
        raise UserError(f"no table is called '{name}'; there are {', '.join(TABLES)}")
    measured = importlib.import_module(reader(TABLES[name])).load(measurements_folder)
    written_by = made_by(code_digest(table_code(name)), ("numpy", "pandas", "scipy"))
    provenance = measured.provenance() | {MADE_BY: written_by}
    return write_table(build(name, measured), Path(out_folder) / name, provenance)
