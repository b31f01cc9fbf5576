# SPDX-License-Identifier: Apache-2.0
"""The largest of many absolute values as an effect, such as the worst output's bias."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from infwidth.stats.effects import Effect
from infwidth.stats.statistics import Interval


@dataclass(frozen=True, kw_only=True, eq=False)
class LargestEffect(Effect):
    """max_k |θ_k| of K numbers, each with its error; they may depend on each other in any way.

    `Below a bound` says that every one is: an intersection-union test. `Above` says that one at
    least is: Bonferroni over all, from both sides. The interval has the ends at which the two-sided
    forms of these tests, with twice the p value, would reject.

    Attributes:
        mean_K: the numbers.
        error_K: their standard errors.
    """

    mean_K: NDArray[np.float64]
    error_K: NDArray[np.float64]

    @classmethod
    def of_means(
        cls, where: str, mean: ArrayLike, error: ArrayLike, count: int, lost: int = 0
    ) -> "LargestEffect":
        """The largest of K means over the same `count` repeats, shapes (K,)."""
        mean_K, error_K = np.asarray(mean, np.float64), np.asarray(error, np.float64)
        worst = int(np.argmax(np.abs(mean_K)))
        return cls(
            *(where, float(abs(mean_K[worst])), float(error_K[worst]), count - 1, count, lost),
            mean_K=mean_K,
            error_K=error_K,
        )

    def interval(self, confidence: float) -> Interval:
        """From the least to the greatest value that the tests leave; no end is below 0."""
        if not self.freedom > 0:
            return Interval(self.estimate, math.nan, math.nan)
        tail = (1 - confidence) / 2
        one, all_K = (
            -float(special.stdtrit(self.freedom, p)) for p in (tail, tail / (2 * self.mean_K.size))
        )
        size_K = np.abs(self.mean_K)
        lower = max(0.0, float(np.max(size_K - all_K * self.error_K)))
        return Interval(self.estimate, lower, float(np.max(size_K + one * self.error_K)))

    def p_above(self, bound: float) -> float:
        """p value of `at least one |θ_k| > bound`."""
        if self.lost or not self.freedom > 0:
            return math.nan
        if bound < 0:
            return 0.0
        return min(1.0, 2 * self.mean_K.size * float(self._tails(1.0, bound).min()))

    def p_below(self, bound: float) -> float:
        """p value of `every |θ_k| < bound`."""
        if self.lost or not self.freedom > 0:
            return math.nan
        return float(self._tails(-1.0, bound).max())

    def _tails(self, sign: float, bound: float) -> NDArray[np.float64]:
        """One-sided p value of |θ_k| > bound (sign 1) or < bound (−1), each by itself."""
        excess_K = sign * (np.abs(self.mean_K) - bound)
        exact_K = np.where(excess_K > 0, np.inf, -np.inf)
        z_K = np.divide(excess_K, self.error_K, out=exact_K, where=self.error_K > 0)
        return special.stdtr(self.freedom, -z_K)
