# SPDX-License-Identifier: Apache-2.0
"""Effects: what an experiment says on a question, as a number with its error, place by place.

An experiment's module in `infwidth.experiments` gives its effects by name, with
`effects(measured) -> dict[str, list[Effect]]`; a rule of config/claims.yaml names one of them.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from infwidth.stats.statistics import Floats, Interval, mean_interval


@dataclass(frozen=True)
class Effect:
    """One number with its standard error.

    Attributes:
        where: the place it was measured at, such as "H = 256".
        estimate: the number, in the unit that the rule names.
        error: its standard error; 0 where it is exact or all repeats are equal, NaN where it is
            unknown.
        freedom: degrees of freedom of the error; inf for a normal error.
        count: how many independent repeats it rests on.
        lost: repeats that diverged or are missing; no test is made where there are any.
        documents: the interval over test documents, where there is one.
        readings: the same effect by other models. Intervals are then the union over all of them
            and p values the largest, so that what is said holds whichever model is right.
    """

    where: str
    estimate: float
    error: float
    freedom: float
    count: int
    lost: int = 0
    documents: Interval | None = None
    readings: tuple["Effect", ...] = ()

    @classmethod
    def of_repeats(
        cls, where: str, values: ArrayLike, lost: int = 0, documents: Interval | None = None
    ) -> "Effect":
        """The mean of independent repeats, such as differences paired by seed, shape (S,)."""
        values_S = np.asarray(values, np.float64)
        mean = mean_interval(values_S, 0.95)
        error = mean.sd / math.sqrt(mean.count) if mean.count else math.nan
        return cls(where, mean.estimate, error, mean.count - 1, mean.count, lost, documents)

    @classmethod
    def exact(cls, where: str, value: float) -> "Effect":
        """A number without any error, such as a count of bytes."""
        return cls(where, value, 0.0, math.inf, 1)

    @property
    def is_exact(self) -> bool:
        """Whether it has no error at all: it was counted, and not found equal in all repeats."""
        return self.error == 0 and math.isinf(self.freedom)

    def interval(self, confidence: float) -> Interval:
        """The two-sided interval; its ends are NaN where the error is unknown."""
        ends = np.array([each._ends(confidence) for each in (self, *self.readings)])
        return Interval(self.estimate, float(ends[:, 0].min()), float(ends[:, 1].max()))

    def p_above(self, bound: float) -> float:
        """One-sided p value of `the effect > bound`.

        NaN if repeats were lost, are too few, or are all equal, as where a seed takes no effect.
        """
        return float(np.max([each._p_above(bound) for each in (self, *self.readings)]))

    def p_below(self, bound: float) -> float:
        """One-sided p value of `the effect < bound`; see `p_above`."""
        return float(np.max([each._mirrored()._p_above(-bound) for each in (self, *self.readings)]))

    def _ends(self, confidence: float) -> tuple[float, float]:
        if math.isnan(self.error) or self.freedom <= 0:
            return math.nan, math.nan
        half = float(special.stdtrit(self.freedom, (1 + confidence) / 2)) * self.error
        return self.estimate - half, self.estimate + half

    def _p_above(self, bound: float) -> float:
        if self.lost or not self.freedom > 0 or not math.isfinite(self.error):
            return math.nan
        excess = self.estimate - bound
        if self.is_exact:
            return 0.0 if excess > 0 else 1.0
        if self.error == 0:
            return math.nan
        return float(special.stdtr(self.freedom, -excess / self.error))

    def _mirrored(self) -> "Effect":
        return Effect("", -self.estimate, self.error, self.freedom, self.count, self.lost)


def paired_effect(
    where: str,
    first: dict[int, float],
    second: dict[int, float],
    ran: Sequence[int],
    documents: Interval | None = None,
) -> Effect:
    """The mean of first − second over the seeds that both finished; see `weighted_effect`."""
    effect = weighted_effect(where, [(1, first), (-1, second)], ran)
    return replace(effect, documents=documents)


def weighted_effect(
    where: str, terms: Sequence[tuple[float, Mapping[int, float]]], ran: Collection[int]
) -> Effect:
    """The mean over seeds of a weighted sum of losses.

    Args:
        where: the place.
        terms: weights, each with the loss of every run that finished, by seed.
        ran: the seeds that all were to run; those missing from any count as lost.
    """
    seeds = shared_seeds([losses for _, losses in terms], ran)
    value_S = np.zeros(len(seeds))
    for weight, losses in terms:
        value_S += weight * np.array([losses[seed] for seed in seeds])
    return Effect.of_repeats(where, value_S, len(set(ran)) - len(seeds))


def shared_seeds(losses: Sequence[Mapping[int, float]], ran: Collection[int]) -> list[int]:
    """The seeds among those that ran of which each has a loss, ascending."""
    return sorted(set(ran).intersection(*losses))


@dataclass(frozen=True, kw_only=True)
class ShareEffect(Effect):
    """A share of trials, whose error a t test would call 0 where all trials agree."""

    found: int
    """Trials that found it."""

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


@dataclass(frozen=True, kw_only=True, eq=False)
class RatioEffect(Effect):
    """mean(top) / mean(bottom), where the bottom is what there is to gain, such as a gap.

    Without a positive bottom the ratio has no meaning: its estimate is then NaN. A test of the
    ratio against a bound is one of top − bound · bottom, which needs no division, and at the same
    time one of whether the bottom is positive: by intersection and union, the larger p counts.
    """

    top_S: Floats
    bottom_S: Floats

    @classmethod
    def of_pairs(cls, where: str, top: ArrayLike, bottom: ArrayLike, lost: int) -> "RatioEffect":
        """The ratio of the means of two arrays of shape (S,), numerator and denominator."""
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
        found = self.closed(confidence, 0.0)
        return Interval(self.estimate, found.lower, found.upper)

    def closed(self, confidence: float, fraction: float) -> "GapClosed":
        """The ratio with Fieller's interval, also where the bottom is not positive.

        All r for which the t test does not reject `mean(top − r · bottom) = 0`. This is exact under
        normality, and the covariance of the pairs enters. The set is bounded exactly when the
        bottom's own t interval leaves out 0. Source: Fieller 1954.

        Args:
            confidence: of the interval.
            fraction: of the test that needs no ratio.
        """
        count = self.top_S.size
        p_value = Effect.of_repeats("", self.top_S - fraction * self.bottom_S).p_above(0.0)
        top, bottom = (float(x.mean()) if count else math.nan for x in (self.top_S, self.bottom_S))
        ratio = top / bottom if bottom else math.nan
        undefined = GapClosed(ratio, math.nan, math.nan, False, p_value, fraction, bottom)
        if count < 2:
            return undefined
        quantile = float(special.stdtrit(count - 1, (1 + confidence) / 2))
        covariance = np.cov(self.top_S, self.bottom_S) * (quantile**2 / count)
        square = bottom**2 - float(covariance[1, 1])
        if square <= 0:
            return undefined
        cross = top * bottom - float(covariance[0, 1])
        constant = top**2 - float(covariance[0, 0])
        root = math.sqrt(max(cross**2 - square * constant, 0.0))
        lower, upper = (cross - root) / square, (cross + root) / square
        return GapClosed(ratio, lower, upper, True, p_value, fraction, bottom)

    def p_above(self, bound: float) -> float:
        """One-sided p value of `the bottom is positive and the ratio > bound`."""
        return self._p(self.top_S - bound * self.bottom_S)

    def p_below(self, bound: float) -> float:
        """One-sided p value of `the bottom is positive and the ratio < bound`."""
        return self._p(bound * self.bottom_S - self.top_S)

    def _p(self, excess_S: Floats) -> float:
        if self.lost or self.count < 2:
            return math.nan
        both = (Effect.of_repeats("", values_S) for values_S in (excess_S, self.bottom_S))
        return float(np.max([each.p_above(0.0) for each in both]))


@dataclass(frozen=True)
class GapClosed(Interval):
    """Fieller's interval of a ratio of means; where it is unbounded the ratio is undefined.

    Attributes:
        defined: the denominator differs from 0 at this confidence, so that the interval is bounded.
        p_more_than_fraction: one-sided p value of `numerator > fraction · denominator`, which needs
            no ratio and stands in for it where it is undefined.
        fraction: the fraction of that test.
        gap: mean of the denominator; where it is negative there is no gap, whatever the ratio is.
    """

    defined: bool
    p_more_than_fraction: float
    fraction: float
    gap: float

    @property
    def no_gap(self) -> bool:
        """Whether it is shown that there is nothing to close."""
        return self.defined and self.gap < 0


@dataclass(frozen=True, kw_only=True, eq=False)
class LargestEffect(Effect):
    """max_k |θ_k| of K numbers, each with its error; they may depend on each other in any way.

    `Below a bound` says that every one is: an intersection-union test. `Above` says that one at
    least is: Bonferroni over all, from both sides. The interval has the ends at which the two-sided
    forms of these tests, with twice the p value, would reject.
    """

    mean_K: Floats
    error_K: Floats

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

    def _tails(self, sign: float, bound: float) -> Floats:
        """One-sided p value of |θ_k| > bound (sign 1) or < bound (−1), each by itself."""
        excess_K = sign * (np.abs(self.mean_K) - bound)
        exact_K = np.where(excess_K > 0, np.inf, -np.inf)
        z_K = np.divide(excess_K, self.error_K, out=exact_K, where=self.error_K > 0)
        return special.stdtr(self.freedom, -z_K)
