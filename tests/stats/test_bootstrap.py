# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from scipy import stats

from infwidth.stats.bootstrap import document_interval, resampled_losses

SAMPLES = 4_000


def corpus(documents=40, seeds=3, sd=0.08):
    generator = np.random.default_rng(1)
    tokens_SxD = np.tile(generator.integers(1_000, 9_000, documents), (seeds, 1)).astype(float)
    loss_D = 1.6 + generator.normal(0, sd, documents)
    return tokens_SxD * (loss_D + generator.normal(0, 0.01, (seeds, 1))), tokens_SxD


def test_variance_is_that_of_the_ratio_estimator():
    loss_SxD, tokens_SxD = corpus()
    loss_D, tokens_D = loss_SxD.mean(axis=0), tokens_SxD[0]
    ratio = loss_D.sum() / tokens_D.sum()
    analytic = ((loss_D - ratio * tokens_D) ** 2).sum() / tokens_D.sum() ** 2
    resampled_B = resampled_losses(loss_SxD, tokens_SxD, SAMPLES, 0)
    # 2% noise of a variance over 4,000 samples, and the ratio's curvature over 40 documents
    assert resampled_B.var() == pytest.approx(analytic, rel=0.08)
    assert resampled_B.mean() == pytest.approx(ratio, abs=4 * math.sqrt(analytic / SAMPLES) + 5e-4)


def test_pairing_by_document_removes_what_the_variants_share():
    loss_SxD, tokens_SxD = corpus()
    first_B = resampled_losses(loss_SxD, tokens_SxD, SAMPLES, 0)
    shifted_B = resampled_losses(loss_SxD + 0.05 * tokens_SxD, tokens_SxD, SAMPLES, 0)
    # rounding of sums of some 1e5 nats
    assert np.ptp(shifted_B - first_B) < 1e-12
    assert (shifted_B - first_B).mean() == pytest.approx(0.05, abs=1e-12)


def test_same_seed_same_resamples_and_chunks_do_not_show():
    loss_SxD, tokens_SxD = corpus()
    whole_B = resampled_losses(loss_SxD, tokens_SxD, 600, 7)
    assert np.array_equal(whole_B[:100], resampled_losses(loss_SxD, tokens_SxD, 100, 7))
    assert not np.array_equal(whole_B, resampled_losses(loss_SxD, tokens_SxD, 600, 8))


def test_interval_is_as_wide_as_the_t_interval_of_equal_documents():
    loss_SxD = 1.6 + np.random.default_rng(2).normal(0, 0.1, (1, 12))
    resampled_B = resampled_losses(loss_SxD, np.ones((1, 12)), 20_000, 0)
    found = document_interval(float(loss_SxD.mean()), resampled_B, 12, 0.95)
    theirs = stats.ttest_1samp(loss_SxD[0], 0).confidence_interval(0.95)
    # the bootstrap's tails are a little shorter than the normal ones that the correction assumes
    assert found.half_width == pytest.approx((theirs.high - theirs.low) / 2, rel=0.06)


def test_one_document_has_no_interval():
    found = document_interval(1.6, np.full(100, 1.6), 1, 0.95)
    assert found.estimate == 1.6
    assert math.isnan(found.lower)
