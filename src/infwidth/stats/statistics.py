# SPDX-License-Identifier: Apache-2.0
"""Intervals, power and corrections over seeds, and the bootstrap over test documents.

Seeds are the sample; a loss is in nats per token.
Legend: S seeds, D documents, B resamples, A arms, K claims.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

_CHUNK = 250
"""Resamples held at a time: bounds the memory on corpora of many thousand documents."""

_MOST_SEEDS = 100_000

_FEWEST_ARMS = 3
"""That are needed to say anything of how their variances lie."""


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


def mean_interval(values: ArrayLike, confidence: float) -> SampleMean:
    """The mean of independent values, shape (S,), with its two-sided Student t interval.

    Standard deviations have ddof 1; the ends are NaN for S < 2.
    """
    values_S = np.asarray(values, dtype=np.float64)
    count = values_S.size
    if count < 2:
        mean = float(values_S[0]) if count else math.nan
        return SampleMean(mean, math.nan, math.nan, math.nan, count)
    # Rounding in the mean would give equal values a spread, and a test on it an arbitrary p.
    are_equal = np.ptp(values_S) == 0
    mean = float(values_S[0]) if are_equal else float(values_S.mean())
    sd = 0.0 if are_equal else float(values_S.std(ddof=1))
    half = float(special.stdtrit(count - 1, (1 + confidence) / 2)) * sd / math.sqrt(count)
    return SampleMean(mean, mean - half, mean + half, sd, count)


def two_sided(p_value: float) -> float:
    """Twice a one-sided p value, at most 1; NaN stays NaN."""
    return min(2 * p_value, 1.0)


def paired_power(count: int, sd: float, effect: float, confidence: float) -> float:
    """Power of the two-sided paired t test, by the noncentral t distribution.

    `sd` is of the differences of `count` pairs, and `effect` their true mean.
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


def required_seeds(sd: float, effect: float, confidence: float, power: float) -> int | None:
    """The least number of paired seeds, at least 2, whose paired t test has the stated power.

    None if sd, that of the differences over seeds, is unknown (NaN), or too many would be needed.
    """

    def power_of(count: int) -> float:
        return paired_power(count, sd, effect, confidence)

    if not math.isfinite(sd) or power_of(_MOST_SEEDS) < power:
        return None
    return 2 + bisect.bisect_left(range(2, _MOST_SEEDS), power, key=power_of)


def log_slopes(values_RxW: ArrayLike, sizes: Sequence[float]) -> NDArray[np.float64]:
    """Least-squares slope of log value on log size, one a repeat, shape (R,)."""
    log_W = np.log(sizes)
    log_W = log_W - log_W.mean()
    return np.log(np.asarray(values_RxW, np.float64)) @ log_W / (log_W @ log_W)


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


def resampled_losses(loss_SxD: Floats, tokens_SxD: Floats, samples: int, seed: int) -> Floats:
    """Mean over seeds of (sum of losses / sum of tokens), on documents drawn with replacement.

    The draws depend on the number of documents, on `samples` and on `seed` alone, so that two calls
    on the same documents are paired: their difference is the bootstrap of the difference.

    Args:
        loss_SxD: summed loss of each test document, by seed, nats.
        tokens_SxD: tokens scored in each document.
        samples: number of resamples, B.
        seed: of the resampling.
    """
    count = loss_SxD.shape[1]
    generator = np.random.default_rng(seed)
    parts = []
    for start in range(0, samples, _CHUNK):
        size = min(_CHUNK, samples - start)
        draws_BxD = generator.multinomial(count, np.full(count, 1 / count), size=size)
        draws_BxD = draws_BxD.astype(np.float64)
        parts.append((draws_BxD @ loss_SxD.T / (draws_BxD @ tokens_SxD.T)).mean(axis=1))
    return np.concatenate(parts)


def document_interval(
    estimate: float, resampled_B: Floats, documents: int, confidence: float
) -> Interval:
    """The expanded percentile interval of resampled values.

    Percentile ends are moved out to where a t interval over D documents would have them: with few
    documents the plain percentiles are too narrow by √((D−1)/D) z/t (Hesterberg 2015, section 3.3).
    The ends are NaN for fewer than 2 documents.

    Args:
        estimate: the value on the documents themselves.
        resampled_B: from `resampled_losses`, or a difference of two such.
        documents: D.
        confidence: of the interval.
    """
    if documents < 2:
        return Interval(estimate, math.nan, math.nan)
    quantile = special.stdtrit(documents - 1, (1 - confidence) / 2)
    tail = float(special.ndtr(math.sqrt(documents / (documents - 1)) * quantile))
    lower, upper = np.quantile(resampled_B, [tail, 1 - tail])
    return Interval(estimate, float(lower), float(upper))


def prior_of_variances(variance_A: Floats, freedom_A: Floats) -> tuple[float, float]:
    """Degrees of freedom d₀ and scale s₀² of the scaled inverse χ² that true variances follow.

    Sample variances of 0 say nothing, and are left out. d₀ is 0 where nothing can be said, and
    infinite where all are alike.
    """
    known = (variance_A > 0) & (freedom_A > 0)
    if known.sum() < _FEWEST_ARMS:
        return 0.0, 0.0
    half = freedom_A[known] / 2
    logs = np.log(variance_A[known]) - special.digamma(half) + np.log(half)
    excess = float(logs.var(ddof=1) - special.polygamma(1, half).mean())
    if excess <= 0:
        return math.inf, float(np.exp(logs.mean()))
    half_prior = _inverse_trigamma(excess)
    center = logs.mean() + special.digamma(half_prior) - math.log(half_prior)
    return 2 * half_prior, float(np.exp(center))


def moderated_t(
    gap_A: Floats, variance_A: Floats, freedom_A: Floats, size_A: Floats
) -> tuple[Floats, Floats, Floats]:
    """Tests differences of two means of equal variance, by Smyth's moderated t statistic.

    Three repeats say little of their variance, and dozens of arms say much of how variances lie:
    each variance is shrunk towards the others', by as much as they are alike. Source: Smyth 2004,
    "Linear models and empirical Bayes methods", sections 3 and 6.2.

    Args:
        gap_A: differences.
        variance_A, freedom_A: of a single repeat, pooled over the two samples.
        size_A: 1/n₁ + 1/n₂.

    Returns:
        Standard errors, degrees of freedom and two-sided p values.
    """
    prior_freedom, prior = prior_of_variances(variance_A, freedom_A)
    if math.isinf(prior_freedom):
        shrunk_A, total_A = np.full_like(gap_A, prior), np.full_like(gap_A, math.inf)
    else:
        total_A = freedom_A + prior_freedom
        shrunk_A = (freedom_A * variance_A + prior_freedom * prior) / total_A
    error_A = np.sqrt(shrunk_A * size_A)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio_A = np.where(gap_A == 0, 0.0, np.abs(gap_A) / error_A)
    return error_A, total_A, 2 * special.stdtr(total_A, -ratio_A)


def _inverse_trigamma(value: float) -> float:
    from scipy import optimize  # slow to import, too

    def excess(log_x: float) -> float:
        return float(special.polygamma(1, math.exp(log_x))) - value

    return math.exp(optimize.brentq(excess, -20, 20))
