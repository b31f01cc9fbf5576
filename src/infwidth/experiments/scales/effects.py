# SPDX-License-Identifier: Apache-2.0
"""What the trial of measured scales says on the claims, by width and by control."""

from collections.abc import Iterator

from infwidth.analysis.effects import Effect
from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.measured import Study
from infwidth.experiments.scales.plan import OTHER, PLAIN, WIDE

KERNEL_RULES = ("ntk", "adam_star", "muon_star")
"""SGD, ADAM* and Muon on M: rules that keep the kernel of fixed features."""

PAIRS = {
    **{f"{rule}_measured_minus_frozen": (f"{rule}_measured", "frozen") for rule in KERNEL_RULES},
    **{f"{rule}_minus_frozen": (rule, "frozen") for rule in KERNEL_RULES},
    **{
        f"{rule}_minus_{rule}_measured": (rule, f"{rule}_measured")
        for rule in (*KERNEL_RULES, "frozen")
    },
    "ntk_measured_minus_adam_star_measured": ("ntk_measured", "adam_star_measured"),
}
"""By name, the two variants whose losses are compared."""

JUDGED = ("activation", "stream", "held_20")
"""Controls that rules of config/claims.yaml ask for."""


def effects(measured: Study) -> dict[str, list[Effect]]:
    """Differences of test losses, in nats per token.

    - Each of `PAIRS`: by width; with the ending `_wide` at the widths of at least 4 E, in both
      vocabularies.
    - `permuted_gains`: the same rule on plain features less that on permuted scales.
    - `<control>_minus_before`: a control less the scales as they are, measured before training, by
      rule and width.
    """
    found = {}
    for name, pair in PAIRS.items():
        found[name] = list(_by_width(measured, pair, (PLAIN, WIDE), 0))
        found[f"{name}_wide"] = list(_by_width(measured, pair, (PLAIN, WIDE, OTHER), measured.wide))
    for control in measured.conditions:
        if control not in (PLAIN, WIDE, OTHER):
            found[f"{control}_minus_before"] = list(_against(measured, control))
    for control in JUDGED:
        found.setdefault(f"{control}_minus_before", [])
    found["permuted_gains"] = list(_permuted(measured))
    return found


def _by_width(
    measured: Study, pair: tuple[str, str], conditions: tuple[str, ...], least: int
) -> Iterator[Effect]:
    for condition in (name for name in conditions if name in measured.conditions):
        for width in measured.widths(condition):
            if width >= least and measured.ran(condition, pair, width):
                where = f"H = {width:,}"
                if condition == OTHER:
                    where += f", {measured.conditions[OTHER]['label']}"
                yield measured.contrast(
                    where, {(condition, pair[0], width): 1, (condition, pair[1], width): -1}
                )


def _against(measured: Study, control: str) -> Iterator[Effect]:
    for variant, width in measured.conditions[control]["arms"]:
        if measured.ran(PLAIN, [variant], width):
            where = f"H = {width:,}, {ALL_VARIANTS[variant].label}"
            yield measured.contrast(
                where, {(control, variant, width): 1, (PLAIN, variant, width): -1}
            )


def _permuted(measured: Study) -> Iterator[Effect]:
    for variant, width in measured.conditions.get("permuted", {"arms": []})["arms"]:
        plain = variant.removesuffix("_measured")
        if measured.ran(PLAIN, [plain], width):
            where = f"H = {width:,}, {ALL_VARIANTS[plain].label}"
            yield measured.contrast(
                where, {(PLAIN, plain, width): 1, ("permuted", variant, width): -1}
            )
