"""Whether the claims come out as published: verdict by verdict, and each effect by its interval."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from scipy import stats

from infwidth.analysis.claims import Judged, JudgedClaims, Place
from infwidth.analysis.statistics import holm


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
    """

    label: str
    claim: str
    where: str
    published: float
    here: float
    inside: bool | None
    p_value: float


@dataclass(frozen=True)
class ClaimsAgreement:
    """How all claims compare.

    Attributes:
        count: claims that both judged.
        verdicts: those with another verdict: label, claim, published verdict, verdict here.
        effects: every place of every claim.
    """

    count: int
    verdicts: list[tuple[str, str, str, str]]
    effects: list[ClaimAgreement]

    def shifted(self, level: float) -> list[ClaimAgreement]:
        """The effects that disagree."""
        return [each for each in self.effects if each.p_value < level]


def compare_claims(published: JudgedClaims, here: JudgedClaims) -> ClaimsAgreement:
    """Compares claims that were judged by the same rules from the same experiments.

    Where both intervals are known the difference of two effects is compared with both half widths
    together, √(a² + b²), taken as t intervals with the fewer repeats' degrees of freedom.
    """
    there = {each.claim.id: each for each in here.claims}
    pairs = [(each, there[each.claim.id]) for each in published.claims]
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
        # A count of bytes is the same everywhere, or it is another one.
        return other.estimate, gap == 0, float(gap == 0)
    reach = low.upper - low.estimate, high.estimate - high.lower
    if not all(math.isfinite(each) for each in reach):
        return other.estimate, None, math.nan
    inside = gap <= min(reach)
    freedom = max(1, min(place.repeats, other.repeats) - 1)
    error = math.hypot(*reach) / float(stats.t.ppf((1 + confidence) / 2, freedom))
    if gap == 0:
        return other.estimate, inside, 1.0
    p_value = 2 * float(stats.t.sf(gap / error, freedom)) if error else 0.0
    return other.estimate, inside, p_value
