# SPDX-License-Identifier: Apache-2.0
"""A ratio of two means over the same repeats as an effect: Fieller's interval and its test."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infwidth.stats.effects import Effect, shared_seeds
from infwidth.stats.gap_closed import gap_closed
from infwidth.stats.statistics import Interval, p_greater


@dataclass(frozen=True, kw_only=True, eq=False)
class RatioEffect(Effect):
    """mean(top) / mean(bottom), where the bottom is what there is to gain, such as a gap.

    Without a positive bottom the ratio has no meaning: its estimate is then NaN. A test of the
    ratio against a bound is one of top − bound · bottom, which needs no division, and at the same
    time one of whether the bottom is positive: by intersection and union, the larger p counts.

    Attributes:
        top_S: numerator by repeat.
        bottom_S: denominator by repeat.
    """

    top_S: NDArray[np.float64]
    bottom_S: NDArray[np.float64]

    @classmethod
    def of_pairs(cls, where: str, top: ArrayLike, bottom: ArrayLike, lost: int) -> "RatioEffect":
        """The ratio of the means of two arrays of shape (S,).

        Args:
            where: the place.
            top, bottom: numerator and denominator of each repeat.
            lost: repeats that diverged or are missing.
        """
        top_S, bottom_S = np.asarray(top, np.float64), np.asarray(bottom, np.float64)
        count = top_S.size
        ratio = error = math.nan
        if count and bottom_S.mean() > 0:
            ratio = float(top_S.mean() / bottom_S.mean())
        if count > 1:
            left_S = top_S - ratio * bottom_S
            error = float(left_S.std(ddof=1) / (math.sqrt(count) * bottom_S.mean()))
        return cls(where, ratio, error, count - 1, count, lost, top_S=top_S, bottom_S=bottom_S)

    @classmethod
    def of_gap(
        cls, where: str, losses: Iterable[Mapping[int, float]], ran: Collection[int]
    ) -> "RatioEffect":
        """The share (ntk − star) / (ntk − frozen) of a gap.

        Args:
            where: the place.
            losses: of ntk, star and frozen, by seed of each run that finished.
            ran: the seeds that all were to run; those missing from any count as lost.
        """
        three = list(losses)
        seeds = shared_seeds(three, ran)
        ntk_S, star_S, frozen_S = (np.array([loss[seed] for seed in seeds]) for loss in three)
        return cls.of_pairs(where, ntk_S - star_S, ntk_S - frozen_S, len(set(ran)) - len(seeds))

    def interval(self, confidence: float) -> Interval:
        """Fieller's; its ends are NaN where it is unbounded or there is no gap."""
        if math.isnan(self.estimate):
            return Interval(math.nan, math.nan, math.nan)
        found = gap_closed(self.top_S, self.bottom_S, confidence, 0.0)
        return Interval(self.estimate, found.lower, found.upper)

    def p_above(self, bound: float) -> float:
        """One-sided p value of `the bottom is positive and the ratio > bound`."""
        return self._p(self.top_S - bound * self.bottom_S)

    def p_below(self, bound: float) -> float:
        """One-sided p value of `the bottom is positive and the ratio < bound`."""
        return self._p(bound * self.bottom_S - self.top_S)

    def _p(self, excess_S: NDArray[np.float64]) -> float:
        if self.lost or self.count < 2:
            return math.nan
        return float(np.max([p_greater(excess_S), p_greater(self.bottom_S)]))
