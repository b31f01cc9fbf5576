# SPDX-License-Identifier: Apache-2.0
"""What the trial of measured scales says on the claims, by width and by control."""

from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.measured import Study
from infwidth.experiments.scales.plan import OTHER, PLAIN, WIDE
from infwidth.stats.effects import Effect

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
        found[name] = _by_width(measured, pair, (PLAIN, WIDE), 0)
        found[f"{name}_wide"] = _by_width(measured, pair, (PLAIN, WIDE, OTHER), measured.wide)
    controls = [name for name in measured.conditions if name not in (PLAIN, WIDE, OTHER)]
    for control in dict.fromkeys((*controls, *JUDGED)):
        found[f"{control}_minus_before"] = [
            measured.contrast(
                _place(variant, width), {(control, variant, width): 1, (PLAIN, variant, width): -1}
            )
            for variant, width in _arms(measured, control)
            if measured.ran(PLAIN, [variant], width)
        ]
    found["permuted_gains"] = [
        measured.contrast(
            _place(plain, width), {(PLAIN, plain, width): 1, ("permuted", variant, width): -1}
        )
        for variant, width in _arms(measured, "permuted")
        for plain in [variant.removesuffix("_measured")]
        if measured.ran(PLAIN, [plain], width)
    ]
    return found


def _by_width(
    measured: Study, pair: tuple[str, str], conditions: tuple[str, ...], least: int
) -> list[Effect]:
    found = []
    for name in (name for name in conditions if name in measured.conditions):
        more = f", {measured.conditions[name]['label']}" if name == OTHER else ""
        for width in measured.widths(name):
            if width >= least and measured.ran(name, pair, width):
                weights = {(name, pair[0], width): 1, (name, pair[1], width): -1}
                found.append(measured.contrast(f"H = {width:,}{more}", weights))
    return found


def _arms(measured: Study, control: str) -> list[tuple[str, int]]:
    """The arms of a control; none if it did not run."""
    return measured.conditions.get(control, {"arms": []})["arms"]


def _place(variant: str, width: int) -> str:
    return f"H = {width:,}, {ALL_VARIANTS[variant].label}"
