# SPDX-License-Identifier: Apache-2.0
"""The experiments that are a folder each: one row an experiment, and nothing imported.

A folder holds `settings` (what may be asked), `plan` (which conditions), `effects` (what the runs
say on the claims), and a module for each figure and table. All share `runs`, which trains and
gathers, and `measured`, which reads.
"""

from typing import NamedTuple


class Row(NamedTuple):
    """What the rest of the project knows of an experiment.

    Attributes:
      question: that it asks.
      figures: modules in its folder that draw.
      tables: modules in its folder that tabulate.
    """

    question: str
    figures: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()


REGISTRY: dict[str, Row] = {
    "ladder": Row(
        "What do the claims become as training goes on, up to the paper's own steps?",
        ("fig13_ladder",),
        ("table10_ladder",),
    ),
    "depth": Row(
        "What are the claims at the paper's own depth and steps, over widths?",
        ("fig14_depth",),
        ("table11_depth",),
    ),
    "readings": Row(
        "Does any reading of ADAM*, or of the setting, rescue or sink the claims?",
        ("fig15_readings",),
        ("table12_readings",),
    ),
    "scales": Row(
        "Is one fixed scale for each feature all that a kernel lacks against Adam?",
        ("fig16_scales",),
        ("table13_scales",),
    ),
}
"""In the order of their worth, in which their runs are made."""


def module(experiment: str, name: str) -> str:
    """A module of an experiment's folder."""
    return f"infwidth.experiments.{experiment}.{name}"
