# SPDX-License-Identifier: Apache-2.0
"""How many of independent trials found something, as an effect: the exact binomial test."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from infwidth.stats.effects import Effect
from infwidth.stats.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class ShareEffect(Effect):
    """A share of trials, whose error a t test would call 0 where all trials agree.

    Attributes:
        found: trials that found it.
    """

    found: int

    @classmethod
    def of_trials(cls, where: str, found: ArrayLike) -> "ShareEffect":
        """The share of true values in an array of shape (S,)."""
        found_S = np.asarray(found, bool)
        share = float(found_S.mean()) if found_S.size else math.nan
        total = int(found_S.sum())
        return cls(where, share, math.nan, math.inf, found_S.size, found=total)

    def interval(self, confidence: float) -> Interval:
        """Clopper and Pearson's."""
        if not self.count:
            return Interval(math.nan, math.nan, math.nan)
        ends = self._test().proportion_ci(confidence, "exact")
        return Interval(self.estimate, float(ends.low), float(ends.high))

    def p_above(self, bound: float) -> float:
        """One-sided p value of `the share > bound`."""
        return self._p(bound, "greater")

    def p_below(self, bound: float) -> float:
        """One-sided p value of `the share < bound`."""
        return self._p(bound, "less")

    def _p(self, bound: float, alternative: str) -> float:
        if self.lost or not self.count:
            return math.nan
        return float(self._test(bound, alternative).pvalue)

    def _test(self, *bound: Any) -> Any:
        from scipy import stats  # takes a second to import, and few need it

        return stats.binomtest(self.found, self.count, *bound)
