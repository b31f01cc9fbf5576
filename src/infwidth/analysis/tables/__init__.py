"""The tables of the width experiment: measurements in, .csv, .md and .tex out."""

from collections.abc import Callable, Iterable
from pathlib import Path

from infwidth.analysis.measurements import Measurements
from infwidth.analysis.tables import (
    table1_final_loss,
    table2_gap_closed,
    table3_hyperparameters,
    table4_compute,
)
from infwidth.analysis.tables.table import Table, write_table

__all__ = ["TABLES", "Table", "write_all", "write_table"]

TABLES: dict[str, Callable[[Measurements], Table]] = {
    "table1_final_loss": table1_final_loss.build,
    "table2_gap_closed": table2_gap_closed.build,
    "table3_hyperparameters": table3_hyperparameters.build,
    "table4_compute": table4_compute.build,
}


def write_all(
    measurements_folder: Path | str, out_folder: Path | str, names: Iterable[str] = tuple(TABLES)
) -> list[Path]:
    """Writes the tables named, all by default, and returns the files.

    Args:
        measurements_folder: as the experiment wrote it.
        out_folder: gets `<name>.csv`, `.md` and `.tex`; made if need be.
        names: keys of `TABLES`.

    Raises:
        UserError: the measurements are incomplete.
    """
    measured = Measurements.load(measurements_folder)
    written = []
    for name in names:
        written += write_table(TABLES[name](measured), Path(out_folder) / name)
    return written
