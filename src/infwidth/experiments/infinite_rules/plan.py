# SPDX-License-Identifier: Apache-2.0
"""The parts of the experiment: a job tunes and trains one rule, with every kernel; one widens."""

from infwidth.config.settings import Settings

WIDTHS = "widths"
"""The part of finite models on measured scales, by width."""


def parts(settings: Settings) -> list[str]:
    """Their names: of the rules, and `WIDTHS` where there are measured scales."""
    own = settings.infinite_rules
    return [*own.rules, *([WIDTHS] if "measured" in own.kernels else [])]
