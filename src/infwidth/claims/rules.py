# SPDX-License-Identifier: Apache-2.0
"""What the rules of config/claims.yaml come to under given settings."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from infwidth.claims.schema import Claim, Claims
from infwidth.config.settings import Settings


def number_of(bound: float | str, settings: Settings) -> float:
    """A bound, margin or level as a number: what it refers to is read from the settings."""
    if not isinstance(bound, str):
        return bound
    if bound == "1 - statistics.confidence":
        # Rounded, or it would be 0.05 and a bit.
        return round(1 - settings.statistics.confidence, 12)
    section, name = bound.split(".")
    return float(getattr(getattr(settings, section), name))


def labels(rules: Claims) -> dict[str, str]:
    """By id, how a claim is called: its number, with a letter where it has several rows."""
    rows = Counter(claim.number for claim in rules.claims)
    seen: Counter[int] = Counter()
    found = {}
    for claim in rules.claims:
        letter = chr(ord("a") + seen[claim.number]) if rows[claim.number] > 1 else ""
        seen[claim.number] += 1
        found[claim.id] = f"{claim.number}{letter}"
    return found


def stood_before(rules: Claims, claim: Claim, measured: Mapping[str, Any]) -> bool:
    """Whether nothing had been seen on the seeds with which a claim's experiment ran.

    Args:
        rules: of the claims.
        claim: whose experiment `fresh_seeds` names.
        measured: effective settings of the experiment.
    """
    for setting, seen in rules.fresh_seeds[claim.experiment].items():
        seeds: Any = measured
        for name in setting.split("."):
            seeds = seeds.get(name, {})
        seeds = seeds if isinstance(seeds, list) else [seeds]
        if {} in seeds or set(seeds) & {*seen, *claim.seen.get(setting, [])}:
            return False
    return True
