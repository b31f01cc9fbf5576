# SPDX-License-Identifier: Apache-2.0
"""The parts of the experiment: a job tunes and trains the variants in one architecture."""

from infwidth.config.settings import Settings


def parts(settings: Settings) -> list[str]:
    """Their names."""
    return list(settings.architectures.architectures)
