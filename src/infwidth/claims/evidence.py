# SPDX-License-Identifier: Apache-2.0
"""From an effect to evidence: at one place, and over the places that a rule's scope takes."""

import math
from collections.abc import Sequence

from infwidth.claims.schema import Equivalent, Greater, Less
from infwidth.stats.effects import Effect
from infwidth.stats.statistics import two_sided
from infwidth.stats.verdicts import Evidence, Verdict, at_every_width, at_some_width


def evidence_at(
    rule: Greater | Less | Equivalent, bounds: dict[str, float], effect: Effect
) -> Evidence:
    """p values of the claim and of its opposite at one place.

    For a direction both are two-sided, so that at one level the test and the interval that is
    shown agree. Equivalence is by two one-sided tests; its opposite, that the effect lies beyond
    the margin, is two-sided.

    Args:
        rule: of the claim.
        bounds: its numbers by name: `than`, or `to` and `within`.
        effect: at the place.
    """
    if isinstance(rule, Equivalent):
        lower, upper = bounds["to"] - bounds["within"], bounds["to"] + bounds["within"]
        inside = max(effect.p_above(lower), effect.p_below(upper))
        return Evidence(inside, two_sided(min(effect.p_above(upper), effect.p_below(lower))))
    above, below = (two_sided(p(bounds["than"])) for p in (effect.p_above, effect.p_below))
    return Evidence(above, below) if isinstance(rule, Greater) else Evidence(below, above)


def places_of(scope: str | Sequence[str], effects: Sequence[Effect]) -> tuple[list[int], list[str]]:
    """Which places a scope takes.

    Args:
        scope: as in a claim.
        effects: of every place.

    Returns:
        Indices, and the names that the scope asks for and that are not there.
    """
    if isinstance(scope, str):
        every = list(range(len(effects)))
        return (every[-1:] if scope == "last_place" else every), []
    names = [effect.where for effect in effects]
    return [names.index(n) for n in scope if n in names], [n for n in scope if n not in names]


def not_measured(needs: Sequence[str], effects: Sequence[Effect]) -> list[str]:
    """Which of these are a part of no place's name."""
    return [need for need in needs if not any(need in effect.where for effect in effects)]


def evidence_over(scope: str | Sequence[str], evidence: Sequence[Evidence]) -> Evidence:
    """Evidence over all places that a scope takes."""
    return at_some_width(evidence) if scope == "some_place" else at_every_width(evidence)


def slack(rule: Greater | Less | Equivalent, bounds: dict[str, float], estimate: float) -> float:
    """How far an estimate lies on the claim's side of the rule's bound; negative beyond it."""
    if isinstance(rule, Equivalent):
        return bounds["within"] - abs(estimate - bounds["to"])
    excess = estimate - bounds["than"]
    return excess if isinstance(rule, Greater) else -excess


def decisive(
    scope: str | Sequence[str],
    evidence: Sequence[Evidence],
    slacks: Sequence[float],
    verdict: Verdict,
) -> int | None:
    """Which place decides: the weakest of a claim that must hold at all, the strongest otherwise.

    Against a claim it is the place at which its opposite is shown best; without a verdict the one
    that keeps the claim from being shown. Where p values are equal, such as those of exact numbers,
    slacks tell.

    Args:
        scope: as in a claim.
        evidence: at each place that it takes.
        slacks: of the same places.
        verdict: over all of them.

    Returns:
        The index of the first such place; a place without a test counts as the weakest.
    """
    if not evidence:
        return None
    against = verdict in (Verdict.CONTRADICTED, Verdict.NO)

    def support(place: int) -> tuple[float, float]:
        p_value = evidence[place].p_opposite if against else -evidence[place].p_holds
        if math.isnan(p_value):
            return (math.inf if against else -math.inf), 0.0
        return p_value, slacks[place]

    return (max if scope == "some_place" else min)(range(len(evidence)), key=support)
