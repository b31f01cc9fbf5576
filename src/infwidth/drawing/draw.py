# SPDX-License-Identifier: Apache-2.0
"""Draws a figure by its name; its module is imported only then, so that one can change alone."""

import importlib
from pathlib import Path

from infwidth.catalogue import FIGURES, figure_code, picture_module, reader
from infwidth.code_digest import code_digest
from infwidth.config.errors import UserError
from infwidth.provenance import MADE_BY, made_by


def draw_and_save(name: str, measurements_folder: Path | str, out_folder: Path | str) -> list[Path]:
    """Draws one figure from a folder of measurements and writes its files.

    Args:
        name: a key of `FIGURES`.
        measurements_folder: as the experiment wrote it.
        out_folder: gets `<name>.pdf`, `.png` and `.json`.

    Raises:
        UserError: no such figure, or incomplete measurements.
    """
    if name not in FIGURES:
        raise UserError(f"no figure is called '{name}'; there are {', '.join(FIGURES)}")
    from infwidth.drawing.save import save_figure  # matplotlib only where something is drawn

    measured = importlib.import_module(reader(FIGURES[name])).load(measurements_folder)
    figure = importlib.import_module(picture_module(name)).draw(measured)
    drawn_by = made_by(code_digest(figure_code(name)), ("matplotlib", "numpy", "pandas"))
    provenance = measured.provenance() | {MADE_BY: drawn_by}
    return save_figure(figure, Path(out_folder) / name, provenance)
