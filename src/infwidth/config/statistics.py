# SPDX-License-Identifier: Apache-2.0
"""Settings of the statistics: intervals, the bootstrap, and the rules that verdicts follow."""

from typing import Annotated

from pydantic import Field

from infwidth.config.section import Fraction, Section, Seed

OpenFraction = Annotated[float, Field(gt=0, lt=1)]
Nats = Annotated[float, Field(gt=0)]


class StatisticsSettings(Section):
    """How sure a statement must be; fixed before the runs, so that no verdict is made by eye."""

    confidence: OpenFraction = Field(
        0.95, description="Confidence of every interval; a test's level is one minus this."
    )
    bootstrap_samples: Annotated[int, Field(ge=100)] = Field(
        2000, description="Resamples of the test documents behind each document interval."
    )
    bootstrap_seed: Seed = Field(0, description="Seed of the resampling of documents.")
    equivalence_margin: Nats = Field(
        0.02,
        description="`tracks`: two variants whose losses differ by less than this, in nats per "
        "token, count as equal (TOST).",
    )
    effect_of_interest: Nats = Field(
        0.01,
        description="Smallest difference in loss, in nats per token, that the number of seeds "
        "must be able to show (power calculation).",
    )
    power: OpenFraction = Field(
        0.9, description="Chance of showing the effect of interest that the seeds must give."
    )
    gap_fraction: Fraction = Field(
        0.5,
        description="Where the gap closed is undefined, the test is instead whether ADAM* closes "
        "more than this fraction of what separates SGD from the frozen variant.",
    )
    judge: bool = Field(
        True, description="Give verdicts; if false every verdict reads `too small to judge`."
    )
