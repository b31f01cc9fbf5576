# SPDX-License-Identifier: Apache-2.0
"""Numbers and rules of judged claims in words, for the page and for the table."""

import math
from collections.abc import Sequence

from infwidth.claims.claims import Judged, Place
from infwidth.claims.schema import rule_of
from infwidth.drawing.table import MISSING, number, signed

SOURCES = {
    "paper": "claim of the paper",
    "open": "open question of the paper",
    "ours": "question of ours",
}

_MOST_DECIMALS = 6


def decimals_of(places: Sequence[Place]) -> int:
    """Decimals that show two digits of the narrowest interval, and line a table's numbers up.

    Without any interval they show two digits of the smallest number, or four where it is exact, so
    that no number looks better known than it is.
    """
    halves = [(place.upper - place.lower) / 2 for place in places if place.upper > place.lower]
    if halves:
        return min(_decimals(min(halves), 2), _MOST_DECIMALS)
    digits = ((place.estimate, 4 if place.exact else 2) for place in places)
    return max((_decimals(*each) for each in digits), default=0)


def is_unbounded(place: Place) -> bool:
    """Whether there is a number and a test, but no interval, as where Fieller's set has no ends."""
    return math.isnan(place.lower) and not math.isnan(place.estimate + place.p_holds)


def amount(place: Place, decimals: int, sign: bool = False) -> str:
    """An effect alone, to so many decimals; with a plus sign, too, if that is asked for."""
    # Adding 0 takes the sign from what rounds to -0.
    value = round(place.estimate, decimals) + 0.0
    return signed(value, decimals) if sign else number(value, decimals)


def with_interval(place: Place, sign: bool = False) -> str:
    """An effect with its interval: `estimate ± half width`, or both ends where they differ."""
    decimals = decimals_of([place])
    shown, half = amount(place, decimals, sign), (place.upper - place.lower) / 2
    if not half > 0:
        return shown
    if abs(place.estimate - (place.upper + place.lower) / 2) <= 0.05 * half:
        return f"{shown} ± {number(half, decimals)}"
    return f"{shown} ({ends(place.lower, place.upper, decimals)})"


def ends(lower: float, upper: float, decimals: int) -> str:
    """The two ends of an interval."""
    if not upper > lower:
        return MISSING
    low, high = (number(round(end, decimals) + 0.0, decimals) for end in (lower, upper))
    return f"{low} to {high}"


def is_signed(judged: Judged) -> bool:
    """Whether the effect is compared with 0, so that its sign matters."""
    return judged.bounds.get("than", judged.bounds.get("to")) == 0


def decisive_number(judged: Judged) -> str:
    """The number that decides, with its interval and its place."""
    if judged.decisive is None:
        return MISSING
    place = judged.places[judged.decisive]
    parts = [with_interval(place, is_signed(judged)), judged.claim.unit]
    return f"{' '.join(filter(None, parts))}, {place.where}"


def rule(judged: Judged) -> str:
    """The rule in a few words, without its scope."""
    return rule_of(judged.claim, judged.bounds)


def scope(judged: Judged) -> str:
    """The places that it must hold at."""
    wanted = judged.claim.scope
    if not isinstance(wanted, str):
        return "at " + " and ".join(wanted)
    if wanted == "last_place":
        last = [judged.places[-1].where] if judged.places else []
        return ", ".join(["at the last place", *last])
    return {"every_place": "at every place", "some_place": "at one place at least"}[wanted]


def _decimals(value: float, digits: int) -> int:
    """How many decimals show this many digits of a value; none for large ones."""
    if not value or not math.isfinite(value):
        return 0
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))
