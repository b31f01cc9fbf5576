# SPDX-License-Identifier: Apache-2.0
"""Table 12: losses, rates and differences from frozen features, setting by setting."""

from infwidth.analysis.tables.table import Table
from infwidth.experiments import study_table
from infwidth.experiments.measured import Study
from infwidth.experiments.readings.effects import cells_of
from infwidth.experiments.study_table import Difference


def build(measured: Study) -> Table:
    """One row a setting and variant; errors of differences are pooled over settings."""
    own = measured.settings["readings"]
    pooled = {
        variant: cells_of(measured, {variant: 1, "frozen": -1})
        for variant in own["variants"]
        if variant not in ("frozen", "constant")
    }

    def difference(condition: str, variant: str, _: int) -> Difference | None:
        cell = pooled.get(variant, {}).get(condition)
        return None if cell is None else Difference(cell, "frozen")

    about = [
        f"Readings of ADAM* at width {own['width']:,} in every setting, each tuned there; errors "
        "of differences are pooled over settings.",
        "A: one v; B: v by output, our reconstruction; C: v of the errors.",
    ]
    return study_table.build("table12_readings", measured, about, difference)
