# SPDX-License-Identifier: Apache-2.0
"""What the ablation says, for the claims; differences paired by seed, below 0 where better."""

from collections.abc import Iterable

import numpy as np

from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.optimizer_ablation.contexts import BASE, CONTEXTS, context_of
from infwidth.experiments.optimizer_ablation.measured import (
    DIGITS_KERNEL_RULES,
    DIGITS_LABELS,
    KEEP_THE_KERNEL,
    REFERENCE,
    OptimizerAblation,
)
from infwidth.stats.effects import Effect, paired_effect
from infwidth.stats.ratio_effect import RatioEffect


def effects(measured: OptimizerAblation) -> dict[str, list[Effect]]:
    """Differences of test losses.

    In nats per token, of a language model:

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

    In nats per image, at infinite width on digits:

    - `digits_kernel_rules_minus_adam_star`: by rule, plain features.
    - `digits_adam_star_minus_adam`: by kernel, against elementwise Adam on frozen features.
    - `digits_shifted_minus_normalized`: ADAM* on the two kernels.
    """
    return {
        "adam_star_minus_ntk": _by_context(measured, "adam_star", "ntk"),
        **{
            f"{variant}_minus_{REFERENCE}": _by_context(measured, variant, REFERENCE)
            for variant in ("ntk", "adam_star", "adam_star_normalized")
        },
        "kernel_rules_minus_adam_star": _by_rule(measured, "adam_star"),
        "kernel_rules_minus_frozen": _by_rule(measured, REFERENCE),
        **{
            f"muon_star_minus_{reference}": _muon_by_width(measured, reference)
            for reference in (REFERENCE, "unfrozen_muon_star")
        },
        "nadam_star_minus_frozen_nadam": _in_base(measured, "nadam_star", "frozen_nadam"),
        "shifted_minus_normalized": _in_base(measured, "adam_star_shifted", "adam_star_normalized"),
        "normalized_closes": list(_closes(measured, "adam_star_normalized")),
        "factored_closes": list(_closes(measured, "adam_star_factored")),
        "standard_minus_mean_field": _standard(measured),
        **{
            f"{context}_sgd_over_width": _sgd_over_width(measured, context)
            for context in ("own_rates", "fixed_trunk")
        },
        "digits_kernel_rules_minus_adam_star": list(_digits_rules(measured)),
        "digits_adam_star_minus_adam": list(_digits_kernels(measured)),
        "digits_shifted_minus_normalized": _digits_shifted(measured),
    }


def _by_context(measured: OptimizerAblation, variant: str, reference: str) -> list[Effect]:
    contexts = [BASE, *(name for name, row in CONTEXTS.items() if not row.at_widths)]
    return [
        measured.difference(context, variant, reference, where=context_of(context).label)
        for context in contexts
        if {variant, reference} <= set(measured.variants(context))
    ]


def _by_rule(measured: OptimizerAblation, reference: str) -> list[Effect]:
    ran = measured.variants(BASE)
    return [
        measured.difference(BASE, rule, reference, where=ALL_VARIANTS[rule].label)
        for rule in KEEP_THE_KERNEL
        if rule in ran and reference in ran
    ]


def _muon_by_width(measured: OptimizerAblation, reference: str) -> list[Effect]:
    context, pair = "confirmation", ("muon_star", reference)
    if not set(pair) <= set(measured.variants(context)):
        return []
    return [
        measured.difference(context, *pair, width, where=f"H = {width:,}")
        for width in measured.widths(context)
    ]


def _in_base(measured: OptimizerAblation, first: str, second: str) -> list[Effect]:
    if not {first, second} <= set(measured.variants(BASE)):
        return []
    return [measured.difference(BASE, first, second, where=context_of(BASE).label)]


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


def _standard(measured: OptimizerAblation) -> list[Effect]:
    contexts = ("standard", "mean_field")
    if not all("ntk" in measured.variants(context) for context in contexts):
        return []
    return [
        measured.difference("standard", "ntk", "ntk", width, "mean_field", f"H = {width:,}")
        for width in measured.widths("standard")
        if width != measured.width
    ]


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


def _digits_rules(measured: OptimizerAblation) -> Iterable[Effect]:
    ran = set(measured.digits["rule"])
    for rule, label in DIGITS_LABELS.items():
        if rule in DIGITS_KERNEL_RULES and {rule, "adam_star"} <= ran:
            yield measured.digits_difference(rule, "plain", ("adam_star", "plain"), label)


def _digits_shifted(measured: OptimizerAblation) -> list[Effect]:
    pair = [("adam_star", kernel) for kernel in ("shifted", "normalized")]
    if not set(pair) <= set(measured.digits_arms()):
        return []
    return [measured.digits_difference(*pair[0], pair[1], "digits, infinite width")]


def _digits_kernels(measured: OptimizerAblation) -> Iterable[Effect]:
    runs = measured.digits
    if "adam" in set(runs["rule"]):
        for kernel in dict.fromkeys(runs.loc[runs["rule"] == "adam_star", "kernel"]):
            yield measured.digits_difference("adam_star", kernel, where=f"{kernel} features")
