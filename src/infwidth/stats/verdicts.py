# SPDX-License-Identifier: Apache-2.0
"""Verdicts by rule: a claim is reproduced, contradicted or inconclusive, never judged by eye.

Each rule yields two p values: that the claim holds, and that its opposite does. Both are compared
with one level, 1 − confidence: each word has that level for itself.
"""

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from infwidth.stats.effects import Effect
from infwidth.stats.statistics import holm, two_sided


class Verdict(StrEnum):
    """The words that a claims table may hold.

    A claim of the paper is reproduced or contradicted; a question that it leaves open, or one of
    ours, is answered yes or no.
    """

    REPRODUCED = "reproduced"
    CONTRADICTED = "contradicted"
    YES = "yes"
    NO = "no"
    INCONCLUSIVE = "inconclusive"
    TOO_SMALL = "too small to judge"
    NOT_MEASURED = "not measured"


class Evidence(NamedTuple):
    """p values for a claim and for its opposite; NaN where the data allow neither."""

    p_holds: float
    p_opposite: float


def worse(difference: Effect) -> Evidence:
    """`The first variant's loss is higher`: t test of the differences by seed.

    Two-sided p values, so that at the same level the test and the interval shown never disagree.
    """
    return Evidence(two_sided(difference.p_above(0.0)), two_sided(difference.p_below(0.0)))


def tracks(difference: Effect, margin: float) -> Evidence:
    """`The two variants have the same loss`, within the margin in nats per token.

    By two one-sided t tests (TOST, Schuirmann 1987): below α exactly when the 1 − 2α interval lies
    inside ±margin. Its opposite, that they differ by more, needs evidence of its own.
    """
    inside = max(difference.p_above(-margin), difference.p_below(margin))
    beyond = min(difference.p_above(margin), difference.p_below(-margin))
    return Evidence(inside, two_sided(beyond))


def at_every_width(evidence: Sequence[Evidence]) -> Evidence:
    """`The claim holds at every width`: an intersection-union test, with no correction needed.

    Source: Berger 1982. It is contradicted where at some width the opposite is shown, after Holm
    over the widths.
    """
    holds = [each.p_holds for each in evidence]
    opposite = [p for p in holm([each.p_opposite for each in evidence]) if not math.isnan(p)]
    return Evidence(
        float(np.max(holds)) if holds else math.nan,  # NaN if any is
        min(opposite, default=math.nan),
    )


def at_some_width(evidence: Sequence[Evidence]) -> Evidence:
    """`The claim holds at one width at least`: the mirror image of `at_every_width`.

    It holds where at some width it is shown after Holm over the widths, and is contradicted where
    at every width its opposite is shown.
    """
    mirrored = at_every_width([Evidence(each.p_opposite, each.p_holds) for each in evidence])
    return Evidence(mirrored.p_opposite, mirrored.p_holds)


def verdict(
    evidence: Evidence, confidence: float, judge: bool = True, question: bool = False
) -> Verdict:
    """The word for the evidence, at the level 1 − confidence.

    Args:
        evidence: of one claim.
        confidence: one minus the level of the tests.
        judge: false for configurations that are too small to say anything.
        question: answer yes or no, where nobody claimed anything.
    """
    if not judge:
        return Verdict.TOO_SMALL
    level = 1 - confidence
    if evidence.p_holds < level:
        return Verdict.YES if question else Verdict.REPRODUCED
    if evidence.p_opposite < level:
        return Verdict.NO if question else Verdict.CONTRADICTED
    return Verdict.INCONCLUSIVE
