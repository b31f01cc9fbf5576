# SPDX-License-Identifier: Apache-2.0
"""Whether the claims come out as published: verdict by verdict, and each effect by its interval."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from infwidth.claims.claims import Judged, JudgedClaims, Place
from infwidth.stats.statistics import holm


@dataclass(frozen=True)
class ClaimAgreement:
    """One claim at one place, published and here.

    Attributes:
        label, claim: its number and name.
        where: the place.
        published, here: the effects.
        inside: whether each lies in the other's interval; None where there is no interval.
        p_value: two-sided, of their difference, after Holm over all claims and places; NaN where
            it cannot be tested.
        exact: published without error, such as a count of bytes.
    """

    label: str
    claim: str
    where: str
    published: float
    here: float
    inside: bool | None
    p_value: float
    exact: bool

    def disagrees(self, level: float) -> bool:
        """Whether it is beyond its error, or another number where there is no error."""
        return self.p_value < level or (self.exact and self.here != self.published)


@dataclass(frozen=True)
class ClaimsAgreement:
    """How all claims compare.

    Attributes:
        count: claims that both judged; those of an experiment that either lacks are no part.
        verdicts: those with another verdict: label, claim, published verdict, verdict here.
        effects: every place of every claim.
    """

    count: int
    verdicts: list[tuple[str, str, str, str]]
    effects: list[ClaimAgreement]

    def shifted(self, level: float) -> list[ClaimAgreement]:
        """The effects that differ beyond their errors."""
        return [each for each in self.effects if each.p_value < level]

    def overturned(self, level: float) -> list[tuple[str, str, str, str]]:
        """Of `verdicts`, those of claims of which an effect disagrees."""
        off = {each.claim for each in self.effects if each.disagrees(level)}
        return [each for each in self.verdicts if each[1] in off]

    def moved(self, level: float) -> list[tuple[str, str, str, str]]:
        """Of `verdicts`, all others: near a rule's bound chance decides the verdict."""
        overturned = self.overturned(level)
        return [each for each in self.verdicts if each not in overturned]


def compare_claims(published: JudgedClaims, here: JudgedClaims) -> ClaimsAgreement:
    """Compares claims that were judged by the same rules; of those not measured there is no word.

    Where both intervals are known, their half widths towards each other give the two standard
    errors (they are t or normal intervals), and these that of the difference of the two effects.
    """
    there = {each.claim.id: each for each in here.claims}
    pairs = [
        (each, there[each.claim.id])
        for each in published.claims
        if each.measurements and there[each.claim.id].measurements
    ]
    verdicts = [
        (one.label, one.claim.id, str(one.verdict), str(other.verdict))
        for one, other in pairs
        if one.verdict is not other.verdict
    ]
    effects = [row for one, other in pairs for row in _effects(one, other, published.confidence)]
    corrected = holm([row.p_value for row in effects])
    effects = [replace(row, p_value=p) for row, p in zip(effects, corrected, strict=True)]
    return ClaimsAgreement(len(pairs), verdicts, effects)


def _effects(one: Judged, other: Judged, confidence: float) -> list[ClaimAgreement]:
    here: Mapping[str, Place] = {place.where: place for place in other.places}
    return [
        ClaimAgreement(
            *(one.label, one.claim.id, place.where, place.estimate),
            *_compare(place, here.get(place.where), confidence),
            exact=place.exact,
        )
        for place in one.places
    ]


def _compare(
    place: Place, other: Place | None, confidence: float
) -> tuple[float, bool | None, float]:
    """The effect here, whether each is in the other's interval, and the p value."""
    if other is None:
        return math.nan, None, math.nan
    low, high = sorted((place, other), key=lambda each: each.estimate)
    gap = high.estimate - low.estimate
    if place.exact and other.exact:
        # No error, no test: what a compiler takes differs by platform, and only another number
        # that changes the verdict is a disagreement.
        return other.estimate, gap == 0, math.nan
    reach = np.array([low.upper - low.estimate, high.estimate - high.lower])
    if not np.isfinite(reach).all():
        return other.estimate, None, math.nan
    inside = bool(gap <= reach.min())
    freedom = [math.inf if each.freedom is None else each.freedom for each in (low, high)]
    error = float(np.linalg.norm(reach / special.stdtrit(freedom, (1 + confidence) / 2)))
    if gap == 0:
        return other.estimate, inside, 1.0
    p_value = 2 * float(special.stdtr(sum(freedom), -gap / error)) if error else 0.0
    return other.estimate, inside, p_value
