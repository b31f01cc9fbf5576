# SPDX-License-Identifier: Apache-2.0
"""Table 9: the variants in other architectures: differences and the share of the gap closed."""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import pandas as pd

from infwidth.config.variants import VARIANTS
from infwidth.drawing.table import MISSING, Table, plus_minus, rate, sentences
from infwidth.experiments.architectures.measured import LABELS, PAIRS, Architectures
from infwidth.stats.effects import Effect, GapClosed
from infwidth.stats.statistics import Interval

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
    raw: list[dict[str, Any]] = []
    shown = []
    for architecture in measured.architectures:
        for width in measured.widths:
            place = {"architecture": architecture, "width": width}
            effects = {
                name: measured.difference(architecture, *pair, width)
                for name, pair in PAIRS.items()
            }
            share = measured.share_closed(architecture, width)
            raw += [place | row for row in _raw_rows(measured, effects, share, architecture, width)]
            shown.append(
                {"model": LABELS[architecture], "H": f"{width:,}"}
                | {HEADS[name]: _show(each, measured.confidence) for name, each in effects.items()}
                | {"gap closed": _show_share(share)}
            )
        for name, column in product(measured.variants, ("learning_rate", "kappa")):
            choice = measured.choice(architecture, name)
            if choice is not None:
                row = {"quantity": f"{column}/{name}", "unit": "chosen by tuning"}
                raw.append(row | {"architecture": architecture, "estimate": choice[column]})
    return Table(
        "table9_architectures",
        _caption(measured),
        pd.DataFrame(raw, columns=COLUMNS),
        pd.DataFrame(shown),
    )


def _raw_rows(
    measured: Architectures,
    effects: dict[str, Effect | None],
    share: GapClosed | None,
    architecture: str,
    width: int,
) -> Iterator[dict[str, Any]]:
    """Rows of the CSV at a width: differences, the share of the gap, losses and accuracies."""

    def row(quantity: str, unit: str, interval: Interval, seeds: int, **more: Any) -> dict:
        ends = {name: getattr(interval, name) for name in ("estimate", "lower", "upper")}
        return {"quantity": quantity, "unit": unit, **ends, "seeds": seeds, **more}

    nats = "nats per image"
    for name, effect in effects.items():
        if effect is not None:
            images = effect.documents
            yield row(
                *(name, nats, effect.interval(measured.confidence), effect.count),
                images_lower=images.lower if images else math.nan,
                images_upper=images.upper if images else math.nan,
                seeds_lost=effect.lost,
            )
    if share is not None:
        yield row("gap_closed", "fraction of (ntk - frozen)", share, len(measured.seeds))
    units = {"test_loss": nats, "train_loss": nats, "test_accuracy": "fraction"}
    for variant, (column, unit) in product(measured.variants, units.items()):
        mean = measured.loss(architecture, variant, width, column)
        lost = measured.diverged(architecture, variant, width)
        yield row(f"{column}/{variant}", unit, mean, mean.count, seeds_lost=lost)


def _show(effect: Effect | None, confidence: float) -> str:
    if effect is None:
        return MISSING
    lost = f" ({effect.lost} lost)" if effect.lost else ""
    return plus_minus(effect.interval(confidence), 3, sign=True) + lost


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
