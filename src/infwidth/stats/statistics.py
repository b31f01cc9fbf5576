# SPDX-License-Identifier: Apache-2.0
"""Intervals, tests and power over seeds. Seeds are the sample; a loss is in nats per token.

Legend: S seeds, K claims or widths.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its interval; the ends are NaN where nothing can be said."""

    estimate: float
    lower: float
    upper: float

    @property
    def half_width(self) -> float:
        """Half the distance between the ends."""
        return (self.upper - self.lower) / 2


@dataclass(frozen=True)
class SampleMean(Interval):
    """A mean over seeds with its t interval, its sample standard deviation and its count."""

    sd: float
    count: int


@dataclass(frozen=True)
class PairedDifference(SampleMean):
    """A mean difference over paired seeds, and how far the two members of a pair agree.

    Attributes:
        correlation: Pearson's, of the pairs over seeds; NaN for fewer than 3 pairs or a constant
            member. It says what the pairing was worth: the variance of a difference falls by the
            factor 1 - correlation.
        values_S: the differences.
    """

    correlation: float
    values_S: NDArray[np.float64]


def mean_interval(values: ArrayLike, confidence: float) -> SampleMean:
    """The mean of independent values with its two-sided Student t interval.

    Args:
        values: one number a seed, shape (S,).
        confidence: of the interval, in (0, 1).

    Returns:
        Mean, interval, standard deviation (ddof 1), S. The ends are NaN for S < 2.
    """
    values_S = np.asarray(values, dtype=np.float64)
    count = values_S.size
    if count == 0:
        return SampleMean(math.nan, math.nan, math.nan, math.nan, 0)
    mean, sd = _mean_and_sd(values_S)
    if count == 1:
        return SampleMean(mean, math.nan, math.nan, math.nan, 1)
    half = float(special.stdtrit(count - 1, (1 + confidence) / 2)) * sd / math.sqrt(count)
    return SampleMean(mean, mean - half, mean + half, sd, count)


def _mean_and_sd(values_S: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation (ddof 1); of equal values exactly theirs and 0.

    Rounding in the mean would give equal values a spread, and a test on it an arbitrary p.
    """
    if np.ptp(values_S) == 0:
        return float(values_S[0]), 0.0
    return float(values_S.mean()), float(values_S.std(ddof=1))


def paired_difference(first: ArrayLike, second: ArrayLike, confidence: float) -> PairedDifference:
    """The mean of first − second over paired seeds, with its t interval.

    Args:
        first: one number a seed, shape (S,).
        second: the same seeds in the same order, shape (S,).
        confidence: of the interval.
    """
    first_S = np.asarray(first, dtype=np.float64)
    second_S = np.asarray(second, dtype=np.float64)
    if first_S.shape != second_S.shape:
        raise ValueError(f"pairs need equal shapes, got {first_S.shape} and {second_S.shape}")
    values_S = first_S - second_S
    mean = mean_interval(values_S, confidence)
    correlation = math.nan
    if values_S.size >= 3 and np.ptp(first_S) > 0 and np.ptp(second_S) > 0:
        correlation = float(np.corrcoef(first_S, second_S)[0, 1])
    return PairedDifference(
        mean.estimate, mean.lower, mean.upper, mean.sd, mean.count, correlation, values_S
    )


def p_greater(values: ArrayLike, bound: float = 0.0) -> float:
    """One-sided p value of `mean > bound` by the t test.

    NaN for fewer than 2 values, and where they do not vary at all: nothing is known of their error.
    """
    values_S = np.asarray(values, dtype=np.float64)
    if values_S.size < 2:
        return math.nan
    mean, sd = _mean_and_sd(values_S)
    excess, error = mean - bound, sd / math.sqrt(values_S.size)
    if error == 0:
        return math.nan
    return float(special.stdtr(values_S.size - 1, -excess / error))


def p_less(values: ArrayLike, bound: float = 0.0) -> float:
    """One-sided p value of `mean < bound`; see `p_greater`."""
    return p_greater(-np.asarray(values, dtype=np.float64), -bound)


def two_sided(p_value: float) -> float:
    """Twice a one-sided p value, at most 1; NaN stays NaN."""
    return min(2 * p_value, 1.0)


def p_equivalent(values: ArrayLike, margin: float) -> float:
    """p value of `|mean| < margin` by two one-sided t tests (TOST).

    Source: Schuirmann 1987. Below α exactly when the 1 − 2α interval lies inside ±margin.
    """
    return max(p_greater(values, -margin), p_less(values, margin))


def p_beyond(values: ArrayLike, margin: float) -> float:
    """Two-sided p value of `|mean| > margin`: the opposite of equivalence."""
    return two_sided(min(p_greater(values, margin), p_less(values, -margin)))


def paired_power(count: int, sd: float, effect: float, confidence: float) -> float:
    """Power of the two-sided paired t test.

    Args:
        count: number of pairs.
        sd: standard deviation of the differences, same units as the effect.
        effect: true mean difference.
        confidence: one minus the level of the test.

    Returns:
        The probability that the test rejects, by the noncentral t distribution.
    """
    if count < 2 or not math.isfinite(sd):
        return math.nan
    if sd == 0:
        return 1.0
    freedom = count - 1
    shift = abs(effect) / sd * math.sqrt(count)
    critical = float(special.stdtrit(freedom, (1 + confidence) / 2))
    from scipy import stats  # takes a second to import, and few need it

    # scipy's other tail turns into NaN for large shifts, where it is below 1e-20 in any case.
    wrong_side = float(stats.nct.cdf(-critical, freedom, shift)) if shift < 8 else 0.0
    return float(stats.nct.sf(critical, freedom, shift)) + wrong_side


def required_seeds(
    sd: float, effect: float, confidence: float, power: float, most: int = 100_000
) -> int | None:
    """The least number of paired seeds whose paired t test has the stated power.

    Args:
        sd: standard deviation of the differences over seeds, nats per token.
        effect: difference that must be seen, nats per token.
        confidence: one minus the level of the test.
        power: wanted probability of seeing it.
        most: counts above this are reported as None.

    Returns:
        At least 2; None if sd is unknown (NaN) or more than `most` would be needed.
    """
    if not math.isfinite(sd) or paired_power(most, sd, effect, confidence) < power:
        return None
    low, high = 2, most
    while low < high:
        middle = (low + high) // 2
        if paired_power(middle, sd, effect, confidence) >= power:
            high = middle
        else:
            low = middle + 1
    return low


def log_slopes(values_RxW: ArrayLike, sizes: Sequence[float]) -> NDArray[np.float64]:
    """Least-squares slope of log value on log size, one a repeat, shape (R,)."""
    log_W = np.log(sizes)
    log_W = log_W - log_W.mean()
    return np.log(np.asarray(values_RxW, np.float64)) @ log_W / (log_W @ log_W)


def intersection_union(p_values: Sequence[float]) -> float:
    """p value of `every one of K claims holds`: the largest, with no correction needed.

    Source: Berger 1982. NaN if any is NaN or there is none.
    """
    if not p_values or any(math.isnan(p) for p in p_values):
        return math.nan
    return max(p_values)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given; they control the familywise error.

    Source: Holm 1979. A NaN stays NaN and counts among the K claims, so that it makes no other
    claim easier.
    """
    count = len(p_values)
    order = sorted(range(count), key=lambda k: (math.isnan(p_values[k]), p_values[k]))
    adjusted = [math.nan] * count
    running = 0.0
    for rank, k in enumerate(order):
        if math.isnan(p_values[k]):
            continue
        running = max(running, min(1.0, (count - rank) * p_values[k]))
        adjusted[k] = running
    return adjusted
