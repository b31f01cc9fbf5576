# SPDX-License-Identifier: Apache-2.0
"""What the experiment says, for the claims; differences paired by seed, below 0 where better."""

from infwidth.experiments.infinite_rules.measured import (
    LABELS,
    OTHER_KERNEL_RULES,
    REFERENCE,
    InfiniteRules,
)
from infwidth.stats.effects import Effect
from infwidth.stats.statistics import log_slopes


def effects(measured: InfiniteRules) -> dict[str, list[Effect]]:
    """Differences of test losses, nats per image.

    - `kernel_rules_minus_adam_star`: by rule, plain features.
    - `adam_star_minus_adam`: by kernel that data has no part in, against elementwise Adam on frozen
      plain features.
    - `measured_minus_adam`: by rule, with the kernel of measured scales, against the same.
    - `measured_slope`: by rule, of the log distance of finite models on measured scales from the
      infinite one on log width, fitted for every seed of the features.
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
            if REFERENCE in arms and arm[1] != "measured"
        ],
        "measured_minus_adam": [
            measured.difference(rule, kernel, where=LABELS[rule])
            for rule, kernel in arms
            if REFERENCE in arms and kernel == "measured" and rule != "adam"
        ],
        "measured_slope": [
            Effect.of_repeats(LABELS[rule], log_slopes(distance_SxW.to_numpy(), widths), lost=0)
            for rule, distance_SxW in measured.distances.items()
            for widths in [list(distance_SxW.columns)]
        ],
        "shifted_minus_normalized": [
            measured.difference(*shifted, normalized, "digits, infinite width")
        ]
        if {shifted, normalized} <= set(star)
        else [],
    }
