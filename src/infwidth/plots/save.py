"""Writing a figure: vector, raster, and what it was made from. Same input, same bytes."""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from infwidth.plots.style import paper_style


def save_figure(
    figure: Figure, path_without_suffix: Path | str, provenance: dict[str, Any]
) -> list[Path]:
    """Writes `.pdf` (fonts embedded), `.png` (300 dpi) and `.json`, and returns the three paths.

    Args:
        figure: as drawn under `paper_style`.
        path_without_suffix: its folder is made if need be.
        provenance: inputs with their sha256, settings and commit (`Measurements.provenance`).
    """
    base = Path(path_without_suffix)
    base.parent.mkdir(parents=True, exist_ok=True)
    pdf, png, record = (base.parent / (base.name + suffix) for suffix in (".pdf", ".png", ".json"))
    with paper_style():
        figure.savefig(pdf, metadata={"CreationDate": None, "ModDate": None})
        figure.savefig(png, metadata={"Software": None})
    text = json.dumps({"figure": base.name} | provenance, indent=2, sort_keys=True)
    record.write_text(text + "\n", encoding="utf-8")
    return [pdf, png, record]
