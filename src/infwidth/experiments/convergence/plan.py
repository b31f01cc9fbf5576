# SPDX-License-Identifier: Apache-2.0
"""The parts of the experiment: a job trains one rule's models."""

from infwidth.config.settings import Settings
from infwidth.experiments.convergence.settings import RULES


def parts(_settings: Settings) -> list[str]:
    """Their names."""
    return list(RULES)
