# SPDX-License-Identifier: Apache-2.0
"""What the experiment says, for the claims; differences paired by seed, below 0 where better."""

from infwidth.experiments.infinite_rules.measured import (
    LABELS,
    OTHER_KERNEL_RULES,
    REFERENCE,
    InfiniteRules,
)
from infwidth.stats.effects import Effect


def effects(measured: InfiniteRules) -> dict[str, list[Effect]]:
    """Differences of test losses, nats per image.

    - `kernel_rules_minus_adam_star`: by rule, plain features.
    - `adam_star_minus_adam`: by kernel, against elementwise Adam on frozen plain features.
    - `shifted_minus_normalized`: ADAM* on the two kernels.
    """
    arms = measured.arms
    star = [arm for arm in arms if arm[0] == "adam_star"]
    shifted, normalized = ("adam_star", "shifted"), ("adam_star", "normalized")
    return {
        "kernel_rules_minus_adam_star": [
            measured.difference(*arm, ("adam_star", "plain"), LABELS[arm[0]])
            for arm in arms
            if ("adam_star", "plain") in star
            if arm[0] in OTHER_KERNEL_RULES and arm[1] == "plain"
        ],
        "adam_star_minus_adam": [
            measured.difference(*arm, where=f"{arm[1]} features")
            for arm in star
            if REFERENCE in arms
        ],
        "shifted_minus_normalized": [
            measured.difference(*shifted, normalized, "digits, infinite width")
        ]
        if {shifted, normalized} <= set(star)
        else [],
    }
