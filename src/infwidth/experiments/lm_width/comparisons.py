# SPDX-License-Identifier: Apache-2.0
"""Variants compared: by seed, by test document, and as claims with a verdict."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from infwidth.experiments.lm_width.measured import Measurements
from infwidth.stats.bootstrap import document_interval, resampled_losses
from infwidth.stats.effects import RatioEffect
from infwidth.stats.gap_closed import GapClosed, gap_closed
from infwidth.stats.statistics import (
    Interval,
    PairedDifference,
    SampleMean,
    mean_interval,
    paired_difference,
    paired_power,
    required_seeds,
)
from infwidth.stats.verdicts import Evidence, tracks, worse

UNKNOWN = Evidence(math.nan, math.nan)
GAP = ("ntk", "adam_star", "frozen")
NO_INTERVAL = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class CellLoss:
    """The test loss of a variant at a width, nats per token.

    Attributes:
        over_seeds: mean of the runs that finished, with its t interval.
        over_documents: the same mean with the bootstrap's interval over test documents.
        diverged: runs that diverged, which no mean contains.
    """

    over_seeds: SampleMean
    over_documents: Interval
    diverged: int


@dataclass(frozen=True)
class Comparison:
    """The loss of one variant minus that of another at a width, nats per token, paired by seed.

    Attributes:
        first, second: the variants.
        width: the MLP width.
        over_seeds: mean difference with its t interval and the pairs' correlation.
        over_documents: the same mean with the bootstrap's interval, paired by document.
        lost: seeds of which one run or both diverged or are missing.
        seeds_needed: pairs that show the effect of interest with the power set; None if unknown.
        power: of the pairs there are.
    """

    first: str
    second: str
    width: int
    over_seeds: PairedDifference
    over_documents: Interval
    lost: int
    seeds_needed: int | None
    power: float

    def worse(self) -> Evidence:
        """Evidence that the first variant's loss is higher; none if a pair was lost."""
        return UNKNOWN if self.lost else worse(self.over_seeds.values_S)

    def tracks(self, margin: float) -> Evidence:
        """Evidence that the two losses agree within the margin; none if a pair was lost."""
        return UNKNOWN if self.lost else tracks(self.over_seeds.values_S, margin)


def cell_loss(measured: Measurements, variant: str, width: int) -> CellLoss:
    """The test loss of one variant at one width, with both intervals."""
    losses = measured.losses(variant, width)
    over_seeds = mean_interval(list(losses.values()), measured.statistics.confidence)
    over_documents = document_contrast(
        measured, {(variant, width): 1.0}, over_seeds.estimate, list(losses)
    )
    return CellLoss(over_seeds, over_documents, measured.diverged(variant, width))


def compare(measured: Measurements, first: str, second: str, width: int) -> Comparison | None:
    """One variant against another at one width; None if either never ran there."""
    settings = measured.statistics
    if measured.cell(first, width).empty or measured.cell(second, width).empty:
        return None
    losses = measured.losses(first, width), measured.losses(second, width)
    seeds = sorted(set(losses[0]) & set(losses[1]))
    difference = paired_difference(
        [losses[0][seed] for seed in seeds],
        [losses[1][seed] for seed in seeds],
        settings.confidence,
    )
    return Comparison(
        first,
        second,
        width,
        difference,
        document_contrast(
            measured, {(first, width): 1.0, (second, width): -1.0}, difference.estimate, seeds
        ),
        len(measured.seeds) - len(seeds),
        required_seeds(
            difference.sd, settings.effect_of_interest, settings.confidence, settings.power
        ),
        paired_power(
            difference.count, difference.sd, settings.effect_of_interest, settings.confidence
        ),
    )


def share_closed(measured: Measurements, width: int) -> GapClosed | None:
    """(L_ntk − L_adam_star) / (L_ntk − L_frozen) at one width, paired by seed.

    None if one of the three never ran there, or lost a seed: what a run that diverged would have
    closed is not known.
    """
    effect = gap_effect(measured, "", width)
    if effect.lost or not effect.count:
        return None
    settings = measured.statistics
    return gap_closed(effect.top_S, effect.bottom_S, settings.confidence, settings.gap_fraction)


def gap_effect(measured: Measurements, where: str, width: int) -> RatioEffect:
    """The same share over the seeds that all three finished, as an effect."""
    losses = (measured.losses(variant, width) for variant in GAP)
    return RatioEffect.of_gap(where, losses, measured.seeds)


def document_contrast(
    measured: Measurements,
    weights: Mapping[tuple[str, int], float],
    estimate: float,
    seeds: list[int],
) -> Interval:
    """The document interval of a weighted sum of losses, all on the same resamples.

    Args:
        measured: the losses.
        weights: by variant and width.
        estimate: the sum's value on the documents themselves.
        seeds: over which losses are averaged.
    """
    if not seeds:
        return NO_INTERVAL
    settings = measured.statistics
    documents = 0
    resampled_B = np.zeros(settings.bootstrap_samples)
    for (variant, width), weight in weights.items():
        loss_SxD, tokens_SxD = measured.document_losses(variant, width, seeds)
        if not loss_SxD.size or documents not in (0, loss_SxD.shape[1]):
            return Interval(estimate, math.nan, math.nan)
        documents = loss_SxD.shape[1]
        resampled_B += weight * resampled_losses(
            loss_SxD, tokens_SxD, settings.bootstrap_samples, settings.bootstrap_seed
        )
    return document_interval(estimate, resampled_B, documents, settings.confidence)
