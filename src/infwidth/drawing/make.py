# SPDX-License-Identifier: Apache-2.0
"""Makes a figure or a table by its name; its module is imported only then, and so is matplotlib."""

import importlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infwidth.atomic import replacing_file
from infwidth.catalogue import FIGURES, TABLES, figure_code, picture_module, reader, table_code
from infwidth.code_digest import code_digest
from infwidth.config.errors import UserError
from infwidth.drawing.table import Table, write_table
from infwidth.provenance import MADE_BY, SHA256, made_by, sha256
from infwidth.stored import write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_and_save(name: str, measurements_folder: Path | str, out_folder: Path | str) -> list[Path]:
    """Draws one figure from a folder of measurements and writes `<name>.pdf`, `.png` and `.json`.

    Raises:
        UserError: no such figure, or incomplete measurements.
    """
    _require_known("figure", name, FIGURES)
    measured = importlib.import_module(reader(FIGURES[name])).load(measurements_folder)
    figure = importlib.import_module(picture_module(name)).draw(measured)
    provenance = _provenance(measured, figure_code(name), "matplotlib", "numpy", "pandas")
    return save_figure(figure, Path(out_folder) / name, provenance)


def save_figure(
    figure: "Figure", path_without_suffix: Path | str, provenance: dict[str, Any]
) -> list[Path]:
    """Writes `.pdf` (fonts embedded), `.png` (300 dpi) and `.json`: same input, same bytes.

    If one cannot be written, those that stand there stay as they were.

    Args:
        figure: as drawn under `paper_style`.
        path_without_suffix: its folder is made if need be.
        provenance: inputs with their sha256, settings and commit (`Measurements.provenance`), and
            who drew it. The sha256 of both files is added.

    Raises:
        UserError: the disk is full, or the folder cannot be written to.
    """
    from infwidth.drawing.style import paper_style

    base = Path(path_without_suffix)
    pdf, png, record = (base.parent / (base.name + suffix) for suffix in (".pdf", ".png", ".json"))
    with replacing_file(pdf) as new_pdf, replacing_file(png) as new_png:
        with paper_style():
            figure.savefig(new_pdf, metadata={"CreationDate": None, "ModDate": None})
            figure.savefig(new_png, metadata={"Software": None})
        digests = {pdf.name: sha256(new_pdf), png.name: sha256(new_png)}
        write_json(record, {"figure": base.name, SHA256: digests} | provenance)
    return [pdf, png, record]


def build(name: str, measured: Any) -> Table:
    """Makes one table, by its name in the catalogue, from what its experiment measured."""
    return importlib.import_module(picture_module(name)).build(measured)


def build_and_write(
    name: str, measurements_folder: Path | str, out_folder: Path | str
) -> list[Path]:
    """Makes one table from a folder of measurements and writes its files, as `write_table` does.

    Raises:
        UserError: no such table, or incomplete measurements.
    """
    _require_known("table", name, TABLES)
    measured = importlib.import_module(reader(TABLES[name])).load(measurements_folder)
    provenance = _provenance(measured, table_code(name), "numpy", "pandas", "scipy")
    return write_table(build(name, measured), Path(out_folder) / name, provenance)


def _require_known(kind: str, name: str, names: Collection[str]) -> None:
    if name not in names:
        raise UserError(f"no {kind} is called '{name}'; there are {', '.join(names)}")


def _provenance(measured: Any, code: tuple[str, ...], *packages: str) -> dict[str, Any]:
    return measured.provenance() | {MADE_BY: made_by(code_digest(code), packages)}
