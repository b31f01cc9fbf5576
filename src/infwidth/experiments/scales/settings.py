# SPDX-License-Identifier: Apache-2.0
"""Settings of the trial of measured scales (R)."""

from typing import Annotated

from pydantic import Field

from infwidth.config.section import (
    Seed,
    StudySettings,
    Width,
    each_once,
    seeds_apart,
    variants_known_in,
)
from infwidth.config.variants import ALL_VARIANTS

Count = Annotated[int, Field(ge=1)]


class ScalesSettings(StudySettings):
    """Every rule on plain features and on measured scales, over widths; controls of the scales."""

    variants: list[str] = Field(
        [
            *("ntk", "ntk_measured", "adam_star", "adam_star_measured"),
            *("muon_star", "muon_star_measured", "frozen", "frozen_measured"),
        ],
        min_length=1,
        description="Rows of the tables of variants, each tuned at every width.",
    )
    widths: list[Width] = Field(
        [256, 1024, 64, 16], min_length=1, description="MLP widths H, in turn."
    )
    seeds: list[Seed] = Field(
        [60, 61, 62, 63, 64, 65, 66, 67],
        min_length=1,
        description="Seeds of the reported runs; none of the tuning seeds.",
    )
    wide_widths: list[Width] = Field(
        [4096], description="Widths at which `wide_variants` run besides."
    )
    wide_variants: list[str] = Field(
        ["ntk", "ntk_measured", "adam_star", "adam_star_measured", "frozen", "frozen_measured"],
        description="The variants of those widths.",
    )
    other_vocabulary: bool = Field(
        True, description="Run all at `control_widths` in the other vocabulary, too."
    )
    controls: list[str] = Field(
        ["ntk_measured", "adam_star_measured"],
        description="Variants that run under every control of the scales.",
    )
    control_widths: list[Width] = Field([256, 1024], description="Widths of the controls.")
    control_seeds: list[Seed] = Field(
        [60, 61, 62, 63],
        min_length=1,
        description="Seeds of the controls and of the other vocabulary.",
    )
    holds: list[Count | None] = Field(
        [10, 20, 50, 150, 500, None],
        description="Controls: scales measured during training and held from this step on; null: "
        "never held, which is no fixed kernel.",
    )
    permuted: bool = Field(True, description="Control: the scales permuted among the features.")
    stream: bool = Field(True, description="Control: scales measured on another stream of data.")
    activation: bool = Field(True, description="Control: scales from E g² in place of gradients.")
    powers: list[Annotated[float, Field(gt=0)]] = Field(
        [0.125, 0.5], description="Controls: other powers of the scale (0 is the plain rule)."
    )
    floors: list[Annotated[float, Field(gt=0)]] = Field(
        [1e-2, 1e-4, 1e-8], description="Controls: other floors of the scale."
    )

    _lists_once = each_once(
        *("widths", "wide_widths", "wide_variants", "controls", "control_widths"),
        *("control_seeds", "holds", "powers", "floors"),
    )
    _known = variants_known_in(ALL_VARIANTS, "wide_variants", "controls")
    _control_seeds_apart = seeds_apart("control_seeds")
