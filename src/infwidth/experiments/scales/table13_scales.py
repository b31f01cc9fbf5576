# SPDX-License-Identifier: Apache-2.0
"""Table 13: rules on plain features and on measured scales, over widths, and the controls."""

from infwidth.analysis.tables.table import Table
from infwidth.experiments import study_table
from infwidth.experiments.measured import Study
from infwidth.experiments.scales.plan import OTHER, PLAIN, WIDE
from infwidth.experiments.study_table import Difference


def build(measured: Study) -> Table:
    """One row a condition, variant and width; controls are compared with the scales as they are."""

    def difference(condition: str, variant: str, width: int) -> Difference | None:
        whole = condition in (PLAIN, WIDE, OTHER)
        other = (condition, "frozen") if whole else (PLAIN, variant)
        if (condition, variant) == other or not measured.ran(other[0], [other[1]], width):
            return None
        weights = {(condition, variant, width): 1, (*other, width): -1}
        return Difference(measured.contrast("", weights), "frozen" if whole else "as they are")

    about = [
        "Features divided by one fixed scale each, measured before training, every rule tuned at "
        "every width.",
        "Controls change one thing of the scales, and are compared with the same rule on the "
        "scales as they are.",
    ]
    return study_table.build("table13_scales", measured, about, difference)
