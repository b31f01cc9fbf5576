# SPDX-License-Identifier: Apache-2.0
"""Bootstrap over test documents: how far a loss depends on which documents were held out.

Legend: S seeds, D documents, B resamples. A loss is in nats per token.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from infwidth.stats.statistics import Interval

_CHUNK = 250
"""Resamples held at a time: bounds the memory on corpora of many thousand documents."""


def resampled_losses(
    loss_SxD: NDArray[np.float64], tokens_SxD: NDArray[np.float64], samples: int, seed: int
) -> NDArray[np.float64]:
    """Mean over seeds of (sum of losses / sum of tokens), on documents drawn with replacement.

    The draws depend on the number of documents, on `samples` and on `seed` alone, so that two calls
    on the same documents are paired: their difference is the bootstrap of the difference.

    Args:
        loss_SxD: summed loss of each test document, by seed, nats.
        tokens_SxD: tokens scored in each document.
        samples: number of resamples, B.
        seed: of the resampling.

    Returns:
        One loss a resample, shape (B,), nats per token.
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
    estimate: float, resampled_B: NDArray[np.float64], documents: int, confidence: float
) -> Interval:
    """The expanded percentile interval of resampled values.

    Percentile ends are moved out to where a t interval over D documents would have them: with few
    documents the plain percentiles are too narrow by √((D−1)/D) z/t (Hesterberg 2015, section 3.3).

    Args:
        estimate: the value on the documents themselves.
        resampled_B: from `resampled_losses`, or a difference of two such.
        documents: D.
        confidence: of the interval.

    Returns:
        The interval; its ends are NaN for fewer than 2 documents.
    """
    if documents < 2:
        return Interval(estimate, math.nan, math.nan)
    quantile = special.stdtrit(documents - 1, (1 - confidence) / 2)
    tail = float(special.ndtr(math.sqrt(documents / (documents - 1)) * quantile))
    lower, upper = np.quantile(resampled_B, [tail, 1 - tail])
    return Interval(estimate, float(lower), float(upper))
