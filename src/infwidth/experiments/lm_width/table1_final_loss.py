# SPDX-License-Identifier: Apache-2.0
"""Table 1: final test loss of every variant at every width."""

import math

import pandas as pd

from infwidth.config.variants import ALL_VARIANTS
from infwidth.drawing.table import MISSING, Table, number, plus_minus, sentences
from infwidth.experiments.lm_width.measured import CellLoss, Measurements
from infwidth.experiments.lm_width.notes import corpus_note, seeds_note


def build(measured: Measurements) -> Table:
    """Mean test loss ± half width over seeds; the CSV has the interval over documents too."""
    raw, shown, document_halves = [], [], []
    for variant in measured.variants:
        cells = {}
        for width in measured.widths:
            if measured.cell(variant, width).empty:
                cells[f"H = {width:,}"] = MISSING
                continue
            cell = measured.loss(variant, width)
            cells[f"H = {width:,}"] = _show(cell)
            document_halves.append(cell.over_documents.half_width)
            if variant != "constant" or width == measured.widths[0]:
                raw.append(_row(variant, 0 if variant == "constant" else width, cell))
        shown.append({"Variant": ALL_VARIANTS[variant].label} | cells)
    finite = [half for half in document_halves if math.isfinite(half)]
    caption = sentences(
        [
            "Final test loss in nats per token over MLP width H;",
            f"{seeds_note(measured)}.",
            f"Over test documents the half width is {number(min(finite))} to "
            f"{number(max(finite))} (in the CSV), mostly shared by the variants."
            if finite
            else "",
            "The control without MLPs is one run for all widths."
            if "constant" in measured.variants
            else "",
            corpus_note(measured),
        ]
    )
    return Table("table1_final_loss", caption, pd.DataFrame(raw), pd.DataFrame(shown))


def _show(cell: CellLoss) -> str:
    runs = cell.over_seeds.count + cell.diverged
    if not cell.over_seeds.count:
        return "diverged"
    shown = plus_minus(cell.over_seeds)
    return f"{shown} ({cell.diverged} of {runs} diverged)" if cell.diverged else shown


def _row(variant: str, width: int, cell: CellLoss) -> dict[str, object]:
    return {
        "variant": variant,
        "width": width,
        "seeds": cell.over_seeds.count,
        "diverged": cell.diverged,
        "test_loss_nats_per_token": cell.over_seeds.estimate,
        "sd_over_seeds": cell.over_seeds.sd,
        "seeds_lower": cell.over_seeds.lower,
        "seeds_upper": cell.over_seeds.upper,
        "documents_lower": cell.over_documents.lower,
        "documents_upper": cell.over_documents.upper,
    }
