# SPDX-License-Identifier: Apache-2.0
"""The parts of the experiment: a job tunes and trains one rule, with every kernel."""

from infwidth.config.settings import Settings


def parts(settings: Settings) -> list[str]:
    """Their names."""
    return list(settings.infinite_rules.rules)
