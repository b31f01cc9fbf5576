# SPDX-License-Identifier: Apache-2.0
"""Table 10: losses, rates and differences from frozen features, rung by rung."""

from infwidth.analysis.tables.table import Table
from infwidth.experiments import study_table
from infwidth.experiments.ladder.effects import predictions, width_of
from infwidth.experiments.measured import Study
from infwidth.experiments.study_table import Difference


def build(measured: Study) -> Table:
    """One row a rung and variant; then what the shorter rungs predict of the longest."""
    width = width_of(measured)
    return study_table.build(
        "table10_ladder",
        measured,
        [
            f"The ladder of steps at width {width:,}, "
            f"{measured.settings['model']['layers']} layers; rates are tuned anew at each rung.",
            "Extrapolated: the longest rung from those before it, by L∞ + a t^−b; the range over "
            "all models, less what was measured.",
        ],
        more=[
            {
                "label": f"{effect.where.rpartition(', ')[0]}, extrapolated",
                "variant": variant,
                "width": width,
                "difference": Difference(effect, "measured"),
            }
            for variant, effect in predictions(measured)
        ],
    )
