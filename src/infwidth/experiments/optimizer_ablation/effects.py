# SPDX-License-Identifier: Apache-2.0
"""What the ablation says, for the claims; differences paired by seed, below 0 where better."""

from collections.abc import Iterable

import numpy as np

from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.optimizer_ablation.contexts import BASE, CONTEXTS, context_of
from infwidth.experiments.optimizer_ablation.measured import (
    KEEP_THE_KERNEL,
    REFERENCE,
    OptimizerAblation,
)
from infwidth.stats.effects import Effect, RatioEffect, paired_effect


def effects(measured: OptimizerAblation) -> dict[str, list[Effect]]:
    """Differences of test losses, nats per token.

    - `adam_star_minus_ntk`, `ntk_minus_frozen`, `adam_star_minus_frozen`,
      `adam_star_normalized_minus_frozen`: by context.
    - `kernel_rules_minus_adam_star`, `kernel_rules_minus_frozen`: by rule, in the setting of fig1,
      the rules on plain features that keep their kernel.
    - `nadam_star_minus_frozen_nadam`: NAdam* against elementwise NAdam, in the setting of fig1.
    - `muon_star_minus_frozen`, `muon_star_minus_unfrozen_muon_star`: by width, on fresh seeds.
    - `shifted_minus_normalized`: ADAM* on features with shifted biases against normalized ones.
    - `normalized_closes`, `factored_closes`: the share of what separates ADAM* from Adam, both on
      frozen features, that normalized features (G) and a factored v (D) close; by width, and in the
      other vocabulary.
    - `standard_minus_mean_field`: SGD at one rate, by width, the tuned one left out.
    - `own_rates_sgd_over_width`, `fixed_trunk_sgd_over_width`: SGD tuned at each width, and with
      all but the readouts fixed as drawn; the widest minus each narrower one.
    """
    contexts = [BASE, *(name for name, row in CONTEXTS.items() if not row.at_widths)]

    def less(
        context: str,
        variant: str,
        reference: str,
        where: str = "",
        width: int | None = None,
        other: str | None = None,
    ) -> list[Effect]:
        """A variant minus another, which may be of another context; none if one did not run."""
        ran = reference in measured.variants(other or context)
        if not ran or variant not in measured.variants(context):
            return []
        where = where or context_of(context).label
        return [measured.difference(context, variant, reference, width, other, where)]

    def by_context(variant: str, reference: str) -> list[Effect]:
        return [each for name in contexts for each in less(name, variant, reference)]

    def by_rule(reference: str) -> list[Effect]:
        return [
            each
            for rule in KEEP_THE_KERNEL
            for each in less(BASE, rule, reference, ALL_VARIANTS[rule].label)
        ]

    def by_width(
        context: str, variant: str, reference: str, other: str | None = None
    ) -> list[Effect]:
        return [
            each
            for width in measured.widths(context)
            for each in less(context, variant, reference, f"H = {width:,}", width, other)
            # The tuned width is the same in both contexts.
            if not (other and width == measured.width)
        ]

    return {
        "adam_star_minus_ntk": by_context("adam_star", "ntk"),
        **{
            f"{variant}_minus_{REFERENCE}": by_context(variant, REFERENCE)
            for variant in ("ntk", "adam_star", "adam_star_normalized")
        },
        "kernel_rules_minus_adam_star": by_rule("adam_star"),
        "kernel_rules_minus_frozen": by_rule(REFERENCE),
        **{
            f"muon_star_minus_{reference}": by_width("confirmation", "muon_star", reference)
            for reference in (REFERENCE, "unfrozen_muon_star")
        },
        "nadam_star_minus_frozen_nadam": less(BASE, "nadam_star", "frozen_nadam"),
        "shifted_minus_normalized": less(BASE, "adam_star_shifted", "adam_star_normalized"),
        "normalized_closes": list(_closes(measured, "adam_star_normalized")),
        "factored_closes": list(_closes(measured, "adam_star_factored")),
        "standard_minus_mean_field": by_width("standard", "ntk", "ntk", "mean_field"),
        **{
            f"{context}_sgd_over_width": _sgd_over_width(measured, context)
            for context in ("own_rates", "fixed_trunk")
        },
    }


def _closes(measured: OptimizerAblation, variant: str) -> Iterable[RatioEffect]:
    """(L_adam_star − L_variant) / (L_adam_star − L_frozen)."""
    places = [("mean_field", width) for width in measured.widths("mean_field")]
    for context, width in [*places, ("other_vocabulary", measured.width)]:
        three = ("adam_star", variant, REFERENCE)
        if set(three) <= set(measured.variants(context)):
            losses = [measured.losses(context, name, width) for name in three]
            wanted = measured.seeds_in(context)
            seeds = sorted(set(wanted).intersection(*losses))
            star_S, own_S, frozen_S = (np.array([each[s] for s in seeds]) for each in losses)
            where = f"H = {width:,}"
            if context == "other_vocabulary":
                where += f", {context_of(context).label}"
            lost = len(wanted) - len(seeds)
            yield RatioEffect.of_pairs(where, star_S - own_S, star_S - frozen_S, lost)


def _sgd_over_width(measured: OptimizerAblation, context: str) -> list[Effect]:
    if "ntk" not in measured.variants(context):
        return []
    *narrower, widest = measured.widths(context)
    wide = measured.losses(context, "ntk", widest)
    return [
        paired_effect(
            f"{widest:,} against {width:,}",
            wide,
            measured.losses(context, "ntk", width),
            measured.seeds,
        )
        for width in narrower
    ]
