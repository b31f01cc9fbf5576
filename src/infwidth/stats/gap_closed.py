# SPDX-License-Identifier: Apache-2.0
"""The share of the gap that ADAM* closes: a ratio of two means over the same seeds."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from infwidth.stats.statistics import Interval, p_greater


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


def gap_closed(
    numerator: ArrayLike, denominator: ArrayLike, confidence: float, fraction: float
) -> GapClosed:
    """Ratio of two means of paired values, with Fieller's interval.

    All r for which the t test does not reject `mean(numerator − r · denominator) = 0`. This is
    exact under normality, and the covariance of the pairs enters. The set is bounded exactly when
    the denominator's own t interval leaves out 0.

    Args:
        numerator: L_ntk − L_adam_star by seed, nats per token, shape (S,).
        denominator: L_ntk − L_frozen for the same seeds, shape (S,).
        confidence: of the interval.
        fraction: of the test that needs no ratio.

    Returns:
        The ratio of means; undefined with NaN ends if unbounded or S < 2.

    Source: Fieller 1954.
    """
    top_S = np.asarray(numerator, dtype=np.float64)
    bottom_S = np.asarray(denominator, dtype=np.float64)
    if top_S.shape != bottom_S.shape:
        raise ValueError(f"pairs need equal shapes, got {top_S.shape} and {bottom_S.shape}")
    count = top_S.size
    p_value = p_greater(top_S - fraction * bottom_S)
    top, bottom = (float(x.mean()) if count else math.nan for x in (top_S, bottom_S))
    ratio = top / bottom if bottom else math.nan
    if count < 2:
        return GapClosed(ratio, math.nan, math.nan, False, p_value, fraction, bottom)
    quantile = float(special.stdtrit(count - 1, (1 + confidence) / 2))
    covariance = np.cov(top_S, bottom_S) * (quantile**2 / count)
    square = bottom**2 - float(covariance[1, 1])
    if square <= 0:
        return GapClosed(ratio, math.nan, math.nan, False, p_value, fraction, bottom)
    cross = top * bottom - float(covariance[0, 1])
    constant = top**2 - float(covariance[0, 0])
    root = math.sqrt(max(cross**2 - square * constant, 0.0))
    lower, upper = (cross - root) / square, (cross + root) / square
    return GapClosed(ratio, lower, upper, True, p_value, fraction, bottom)
