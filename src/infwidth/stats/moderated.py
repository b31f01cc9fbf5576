# SPDX-License-Identifier: Apache-2.0
"""Differences of many pairs of means, each of few repeats, with what their variances share.

Three repeats say little of their variance, and dozens of arms say much of how variances lie.
Smyth's moderated t statistic shrinks each variance towards the others', by as much as they are
alike. Source: Smyth 2004, "Linear models and empirical Bayes methods", sections 3 and 6.2.

Legend: A arms.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

_FEWEST = 3
"""Arms that are needed to say anything of how their variances lie."""

Floats = NDArray[np.float64]


def prior_of_variances(variance_A: Floats, freedom_A: Floats) -> tuple[float, float]:
    """Degrees of freedom and scale of the scaled inverse χ² that true variances follow.

    Args:
        variance_A: sample variances; zeros say nothing, and are left out.
        freedom_A: their degrees of freedom.

    Returns:
        d₀ and s₀²; d₀ is 0 where nothing can be said, and infinite where all are alike.
    """
    known = (variance_A > 0) & (freedom_A > 0)
    if known.sum() < _FEWEST:
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
    """Tests differences of two means of equal variance.

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
    def excess(log_x: float) -> float:
        return float(special.polygamma(1, math.exp(log_x))) - value

    return math.exp(optimize.brentq(excess, -20, 20))
