# SPDX-License-Identifier: Apache-2.0
"""What the transformer of infinite width says on the claims: finite losses minus infinite ones."""

import math

from infwidth.config.variants import VARIANTS
from infwidth.experiments.infinite_lm.measured import InfiniteLm
from infwidth.stats.effects import Effect, paired_effect

KERNELS = ("ntk", "adam_star")
"""The variants that can run at infinite width."""


def effects(measured: InfiniteLm) -> dict[str, list[Effect]]:
    """Test losses at finite width minus that at infinite width, nats per token, paired by seed.

    `<variant>_minus_infinite`: by width, ascending. `widest_minus_infinite`: at the largest finite
    width, by variant. `extrapolator_error`: by variant, what is extrapolated from finite widths
    minus what is computed at infinite width; it holds by every model of the extrapolation.
    """
    found: dict[str, list[Effect]] = {f"{name}_minus_infinite": [] for name in KERNELS}
    found |= {"widest_minus_infinite": [], "extrapolator_error": [], "extrapolator_error_ntk": []}
    for name in (name for name in KERNELS if name in measured.infinite_variants):
        widths = [width for width in measured.widths(name) if width < math.inf]
        for width in widths:
            where = f"H = {width:,.0f}"
            found[f"{name}_minus_infinite"].append(_difference(measured, name, width, where))
        if widths:
            where = f"{VARIANTS[name].label}, H = {widths[-1]:,.0f}"
            found["widest_minus_infinite"].append(_difference(measured, name, widths[-1], where))
        limit = measured.extrapolation_error(name)
        suffix = "" if name == "adam_star" else f"_{name}"
        found[f"extrapolator_error{suffix}"] = [limit.effect("H → ∞")] if limit.fits else []
    return found


def _difference(measured: InfiniteLm, name: str, width: float, where: str) -> Effect:
    finite, infinite = (measured.losses(name, w) for w in (width, math.inf))
    return paired_effect(where, finite, infinite, measured.settings["infinite_lm"]["seeds"])
