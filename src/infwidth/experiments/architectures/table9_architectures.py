# SPDX-License-Identifier: Apache-2.0
"""Table 9: the variants in other architectures: differences and the share of the gap closed."""

import math
from typing import Any

import pandas as pd

from infwidth.config.variants import VARIANTS
from infwidth.drawing.table import MISSING, Table, number, rate, sentences, signed
from infwidth.experiments.architectures.measured import LABELS, PAIRS, Architectures
from infwidth.stats.effects import Effect
from infwidth.stats.gap_closed import GapClosed

HEADS = {
    "ntk_minus_frozen": "NTK − frozen",
    "ntk_minus_adam_star": "NTK − ADAM*",
    "adam_star_minus_frozen": "ADAM* − frozen",
    "adam_star_normalized_minus_frozen": "ADAM* normalized − frozen",
    "frozen_minus_unfrozen": "frozen − unfrozen",
}

COLUMNS = [
    *("architecture", "width", "quantity", "unit", "estimate", "lower", "upper"),
    *("images_lower", "images_upper", "seeds", "seeds_lost"),
]
"""Of the CSV: one row a (architecture, width, quantity)."""


def build(measured: Architectures) -> Table:
    """One row a (architecture, width); the CSV has every variant's losses and rates, too."""
    raw, shown = [], []
    for architecture in measured.architectures:
        for width in measured.widths:
            effects = {
                name: measured.difference(architecture, *pair, width)
                for name, pair in PAIRS.items()
            }
            share = measured.share_closed(architecture, width)
            place = {"architecture": architecture, "width": width}
            raw += [
                place | {"quantity": name} | _effect_row(effect, measured.confidence)
                for name, effect in effects.items()
                if effect is not None
            ]
            if share is not None:
                raw.append(place | _share_row(share, len(measured.seeds)))
            raw += [place | row for row in _loss_rows(measured, architecture, width)]
            shown.append(
                {"model": LABELS[architecture], "H": f"{width:,}"}
                | {
                    HEADS[name]: _show(effect, measured.confidence)
                    for name, effect in effects.items()
                }
                | {"gap closed": _show_share(share)}
            )
        raw += [{"architecture": architecture} | row for row in _rate_rows(measured, architecture)]
    return Table(
        "table9_architectures",
        _caption(measured),
        pd.DataFrame(raw, columns=COLUMNS),
        pd.DataFrame(shown),
    )


def _effect_row(effect: Effect, confidence: float) -> dict[str, Any]:
    interval = effect.interval(confidence)
    images = effect.documents
    return {
        "unit": "nats per image",
        "estimate": effect.estimate,
        "lower": interval.lower,
        "upper": interval.upper,
        "images_lower": images.lower if images else math.nan,
        "images_upper": images.upper if images else math.nan,
        "seeds": effect.count,
        "seeds_lost": effect.lost,
    }


def _share_row(share: GapClosed, seeds: int) -> dict[str, Any]:
    return {
        "quantity": "gap_closed",
        "unit": "fraction of (ntk - frozen)",
        "estimate": share.estimate,
        "lower": share.lower,
        "upper": share.upper,
        "seeds": seeds,
    }


def _loss_rows(measured: Architectures, architecture: str, width: int) -> list[dict[str, Any]]:
    rows = []
    for variant in measured.variants:
        for column, unit in (
            ("test_loss", "nats per image"),
            ("train_loss", "nats per image"),
            ("test_accuracy", "fraction"),
        ):
            mean = measured.loss(architecture, variant, width, column)
            rows.append(
                {
                    "quantity": f"{column}/{variant}",
                    "unit": unit,
                    "estimate": mean.estimate,
                    "lower": mean.lower,
                    "upper": mean.upper,
                    "seeds": mean.count,
                    "seeds_lost": measured.diverged(architecture, variant, width),
                }
            )
    return rows


def _rate_rows(measured: Architectures, architecture: str) -> list[dict[str, Any]]:
    choices = {name: measured.choice(architecture, name) for name in measured.variants}
    return [
        {"quantity": f"{column}/{name}", "unit": "chosen by tuning", "estimate": choice[column]}
        for name, choice in choices.items()
        if choice is not None
        for column in ("learning_rate", "kappa")
    ]


def _show(effect: Effect | None, confidence: float) -> str:
    if effect is None:
        return MISSING
    half = effect.interval(confidence).half_width
    lost = f" ({effect.lost} lost)" if effect.lost else ""
    error = f" ± {number(half, 3)}" if math.isfinite(half) else ""
    return f"{signed(effect.estimate, 3)}{error}{lost}"


def _show_share(share: GapClosed | None) -> str:
    if share is None:
        return MISSING
    if not share.defined:
        return "undefined"
    if share.gap < 0:
        return "no gap"
    return f"{share.estimate:.0%} ({share.lower:.0%} to {share.upper:.0%})".replace("-", "−")


def _caption(measured: Architectures) -> str:
    settings = measured.settings
    seeds = len(measured.seeds)
    error = (
        f"± is the half width of the {measured.confidence:.0%} t interval over {seeds} seeds."
        if seeds > 1
        else "One seed, so no interval over seeds."
    )
    return sentences(
        [
            "Differences in final test loss, nats per image, paired by seed, on "
            f"{settings['test_images']} test images of scikit-learn's digits, the same for "
            "all; each seed draws its training images from the others.",
            error,
            "Intervals over test images, losses and accuracies are in the CSV.",
            "Gap closed is (NTK − ADAM*) / (NTK − frozen) with Fieller's interval; undefined where "
            "that is unbounded, since there is no gap that the seeds resolve.",
            *(_rates(measured, architecture) for architecture in measured.architectures),
            "ADAM*'s formula is our reconstruction (B), not the paper's text.",
        ]
    )


def _rates(measured: Architectures, architecture: str) -> str:
    """The rates that were chosen, marked where they are not interior."""
    parts = []
    for name in measured.variants:
        choice = measured.choice(architecture, name)
        if choice is None or name == "constant":
            continue
        kappa = "" if math.isnan(choice["kappa"]) else f" (κ {rate(choice['kappa'])})"
        mark = "" if choice["interior"] else " (not interior)"
        parts.append(f"{VARIANTS[name].label} {rate(choice['learning_rate'])}{kappa}{mark}")
    return f"Rates, {LABELS[architecture]}: {', '.join(parts)}." if parts else ""
