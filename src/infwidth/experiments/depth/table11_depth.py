# SPDX-License-Identifier: Apache-2.0
"""Table 11: losses, rates and differences from frozen features at the paper's depth and steps."""

from infwidth.drawing.table import Table
from infwidth.experiments import study_table
from infwidth.experiments.measured import Study


def build(measured: Study) -> Table:
    """One row a width and variant."""
    own = measured.settings["depth"]
    about = [
        f"Layers: {own['layers']}; steps: {own['steps']:,}; rates are tuned at every width on "
        f"{own['tuning_steps']:,} steps, and from there at full length, to the best of "
        "neighbouring rates."
    ]
    return study_table.build("table11_depth", measured, about)
