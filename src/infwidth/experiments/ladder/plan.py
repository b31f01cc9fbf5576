# SPDX-License-Identifier: Apache-2.0
"""The rungs: a condition a vocabulary and number of steps (without JAX)."""

from infwidth.config.settings import Settings
from infwidth.experiments.study import Condition, arms, at_length

WORDS = {"bytes": "bytes", "sentencepiece": "subwords"}
"""The vocabularies in words."""


def conditions(settings: Settings) -> list[Condition]:
    """Every rung, from the shortest to the longest, in each vocabulary in turn."""
    own = settings.ladder
    return [
        Condition(
            f"{WORDS[vocabulary]}_{steps}",
            f"{WORDS[vocabulary]}, {steps:,} steps",
            arms(own.variants, [own.width]),
            own.seeds,
            own.tuning,
            {"vocabulary": vocabulary, "steps": steps},
            vocabulary,
            training=at_length(steps, settings.training),
            search=at_length(min(steps, own.search_steps), settings.training),
        )
        for vocabulary in own.vocabularies
        for steps in sorted(own.steps)
    ]
