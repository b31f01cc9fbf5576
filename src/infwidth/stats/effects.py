# SPDX-License-Identifier: Apache-2.0
"""Effects: what an experiment says on a question, as a number with its error, place by place.

An experiment's module in `infwidth.experiments` gives its effects by name, with
`effects(measured) -> dict[str, list[Effect]]`; a rule of config/claims.yaml names one of them.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from infwidth.stats.statistics import Interval, mean_interval


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
    """The mean of first − second over the seeds that both finished.

    Args:
        where: the place.
        first, second: the loss of each run that finished, by seed.
        ran: the seeds that both were to run; those missing from either count as lost.
        documents: the interval of the same difference over test documents.
    """
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
