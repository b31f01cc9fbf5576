# SPDX-License-Identifier: Apache-2.0
"""Table 3: what tuning chose, where it looked, and whether the optimum lies inside the grid."""

import math
from typing import Any

import pandas as pd

from infwidth.config.variants import VARIANTS
from infwidth.drawing.table import Table, number, rate, sentences, signed
from infwidth.experiments.lm_width.measured import Measurements
from infwidth.experiments.lm_width.notes import corpus_note
from infwidth.stats.selection import Cell, Trial, mean_losses, race_note

TRUNK = "trunk"


def build(measured: Measurements) -> Table:
    """One row a tuned variant, one more for κ = 1 where κ was searched, and the trunk's check."""
    rows = []
    for variant in VARIANTS:
        if variant not in measured.selection:
            continue
        label = VARIANTS[variant].label
        rows.append(_chosen(measured, variant, label))
        kappas = {trial.kappa for trial in measured.trials(variant)} - {None}
        if len(kappas) > 1 and 1.0 in kappas:
            rows.append(_held(measured, variant, label))
    if TRUNK in measured.selection:
        rows.append(_trunk(measured))
    columns = ["name", "label", "learning_rate", "kappa", "validation_loss_nats_per_token"]
    columns += ["interior", "extensions", "note", "rates_tried", "kappas_tried", "cells", "lost"]
    raw = pd.DataFrame(rows, columns=columns)
    shown = pd.DataFrame(
        [
            {
                "Variant": row["label"],
                "rate": rate(row["learning_rate"]),
                "κ": rate(row["kappa"]),
                "validation loss": number(row["validation_loss_nats_per_token"]),
                "rates tried": row["rates_tried"],
                "κ tried": row["kappas_tried"] or "–",
                "diverged cells": f"{row['lost']} of {row['cells']}",
                "extensions": str(row["extensions"]),
                "optimum": row["note"],
            }
            for row in rows
        ]
    )
    return Table("table3_hyperparameters", _caption(measured), raw, shown)


def _caption(measured: Measurements) -> str:
    tuning = measured.settings["lm_width"].get("tuning", {})
    seeds = len(tuning.get("seeds", []))
    return sentences(
        [
            f"Rates chosen at width {measured.reference_width:,} by mean validation loss, nats per "
            "token,",
            f"over {seeds} tuning seed{'s' * (seeds > 1)}." if seeds else "over the tuning seeds.",
            race_note(tuning),
            "The readout's rate is in units in which the first step has rms η under every "
            "optimizer.",
            f"Interior: both neighbours are worse by more than {measured.tolerance:g}; within that "
            "the smallest rate is taken.",
            "κ scales the rate of trained features; its search is larger than the other "
            "variants', so the choice at κ = 1 is shown too."
            if any(trial.kappa is not None for trial in measured.trials("unfrozen"))
            else "",
            corpus_note(measured),
        ]
    )


def _chosen(measured: Measurements, variant: str, label: str) -> dict:
    entry = measured.selection[variant]
    trials = measured.trials(variant)
    means = mean_losses(trials)
    return {
        "name": variant,
        "label": label,
        "learning_rate": entry["learning_rate"],
        "kappa": entry["kappa"],
        "validation_loss_nats_per_token": _mean(means, entry),
        "interior": entry["interior"],
        "extensions": entry["extensions"],
        "note": entry["note"],
        **_searched(trials),
    }


def _held(measured: Measurements, variant: str, label: str) -> dict:
    choice = measured.choice_at_kappa(variant, 1.0)
    assert choice is not None
    return {
        "name": f"{variant} at kappa 1",
        "label": f"{label}, κ = 1",
        "learning_rate": choice.learning_rate,
        "kappa": 1.0,
        "validation_loss_nats_per_token": choice.validation_loss,
        "interior": choice.extend is None and choice.learning_rate is not None,
        "extensions": 0,
        "note": "for comparison; not the reported runs",
        **_searched([trial for trial in measured.trials(variant) if trial.kappa == 1.0]),
    }


def _trunk(measured: Measurements) -> dict:
    """The trunk's rate is fixed beforehand; the check says what other rates would have given."""
    entry = measured.selection[TRUNK]
    trials = measured.trials(TRUNK)
    means = {cell.learning_rate: mean for cell, mean in mean_losses(trials).items()}
    fixed = measured.settings["training"]["trunk_learning_rate"]
    found = means.get(fixed, math.nan)
    others = [
        f"{rate(other)} gives {signed(mean - found)}"
        if math.isfinite(mean)
        else f"{rate(other)} diverges"
        for other, mean in means.items()
        if other != fixed
    ]
    return {
        "name": TRUNK,
        "label": "Trunk (Adam), on no MLPs",
        "learning_rate": fixed,
        "kappa": None,
        "validation_loss_nats_per_token": found,
        "interior": entry["interior"],
        "extensions": entry["extensions"],
        "note": "; ".join(["fixed beforehand", *others]),
        **_searched(trials),
    }


def _mean(means: dict[Cell, float], entry: dict[str, Any]) -> float:
    if entry["learning_rate"] is None:
        return math.nan
    return means.get(Cell(entry["learning_rate"], entry["kappa"]), math.nan)


def _searched(trials: list[Trial]) -> dict:
    means = mean_losses(trials)
    rates = sorted({cell.learning_rate for cell in means})
    kappas = sorted({cell.kappa for cell in means if cell.kappa is not None})
    return {
        "rates_tried": ", ".join(map(rate, rates)),
        "kappas_tried": ", ".join(map(rate, kappas)),
        "cells": len(means),
        "lost": sum(math.isinf(mean) for mean in means.values()),
    }
