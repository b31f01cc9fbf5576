# SPDX-License-Identifier: Apache-2.0
"""Fieller's set by search, for the tests of ratios: which ratios a t test does not tell apart."""

import math

import numpy as np
from scipy import stats

FINE = 2e-4
"""How well the search knows an end."""


def fiellers_ends(top_S, bottom_S, confidence=0.95, reach=20.0):
    """The least and the greatest r for which top − r · bottom may have the mean 0.

    Infinite where the set reaches over the ratios that are searched.
    """
    ratio_R = np.arange(-reach, reach, FINE / 2)
    left_SxR = np.asarray(top_S)[:, None] - ratio_R * np.asarray(bottom_S)[:, None]
    kept = stats.ttest_1samp(left_SxR, 0).pvalue >= 1 - confidence
    lower = -math.inf if kept[0] else float(ratio_R[kept][0])
    upper = math.inf if kept[-1] else float(ratio_R[kept][-1])
    return lower, upper
