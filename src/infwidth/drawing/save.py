# SPDX-License-Identifier: Apache-2.0
"""Writing a figure: vector, raster, and what it was made from. Same input, same bytes."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from infwidth.atomic import replacing_file
from infwidth.drawing.style import paper_style
from infwidth.provenance import SHA256, sha256
from infwidth.stored import write_json


def save_figure(
    figure: Figure, path_without_suffix: Path | str, provenance: dict[str, Any]
) -> list[Path]:
    """Writes `.pdf` (fonts embedded), `.png` (300 dpi) and `.json`, and returns the three paths.

    If one cannot be written, those that stand there stay as they were.

    Args:
        figure: as drawn under `paper_style`.
        path_without_suffix: its folder is made if need be.
        provenance: inputs with their sha256, settings and commit (`Measurements.provenance`), and
            who drew it. The sha256 of both files is added.

    Raises:
        UserError: the disk is full, or the folder cannot be written to.
    """
    base = Path(path_without_suffix)
    pdf, png, record = (base.parent / (base.name + suffix) for suffix in (".pdf", ".png", ".json"))
    with replacing_file(pdf) as new_pdf, replacing_file(png) as new_png:
        with paper_style():
            figure.savefig(new_pdf, metadata={"CreationDate": None, "ModDate": None})
            figure.savefig(new_png, metadata={"Software": None})
        digests = {pdf.name: sha256(new_pdf), png.name: sha256(new_png)}
        write_json(record, {"figure": base.name, SHA256: digests} | provenance)
    return [pdf, png, record]
