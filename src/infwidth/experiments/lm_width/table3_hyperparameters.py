# SPDX-License-Identifier: Apache-2.0
"""Table 3: what tuning chose at every width, where it looked, and how sure the choice is."""

import math

import pandas as pd

from infwidth.config.variants import ALL_VARIANTS
from infwidth.drawing.table import MISSING, Table, number, plus_minus, rate, sentences, signed
from infwidth.experiments.lm_width.measured import Measurements
from infwidth.experiments.lm_width.notes import corpus_note
from infwidth.stats.selection import Cell, Trial, mean_losses, race_note
from infwidth.stats.statistics import SampleMean, mean_interval

TRUNK = "constant"


def build(measured: Measurements) -> Table:
    """One row a variant and width, one more for κ = 1 where κ was searched; the trunk's check."""
    rows = []
    for variant in (name for name in ALL_VARIANTS if name != TRUNK):
        for width in measured.widths:
            if measured.choice(variant, width) is None:
                continue
            rows.append(_chosen(measured, variant, width))
            kappas = {trial.kappa for trial in measured.trials(variant, width)} - {None}
            if len(kappas) > 1 and 1.0 in kappas:
                rows.append(_held(measured, variant, width))
    if measured.choice(TRUNK, 0) is not None:
        rows.append(_trunk(measured))
    columns = ["name", "label", "width", "learning_rate", "kappa", "searched_learning_rate"]
    columns += ["validation_loss_nats_per_token", "second_minus_best", "second_lower"]
    columns += ["second_upper", "interior", "extensions", "note", "rates_tried", "kappas_tried"]
    columns += ["cells", "lost"]
    raw = pd.DataFrame(rows, columns=columns)
    shown = pd.DataFrame(
        [
            {
                "Variant": row["label"],
                "H": f"{row['width']:,}" if row["width"] else "any",
                "rate": rate(row["learning_rate"]),
                "κ": rate(row["kappa"]),
                "validation loss": number(row["validation_loss_nats_per_token"]),
                "second − best": row["shown_second"],
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
    own, training = measured.settings["lm_width"], measured.settings["training"]
    tuning = own.get("tuning", {})
    seeds = len(tuning.get("seeds", []))
    steps = min(own.get("search_steps", training["steps"]), training["steps"])
    return sentences(
        [
            f"Rates chosen at every width by mean validation loss after {steps:,} steps, nats per "
            "token,",
            f"over {seeds} tuning seed{'s' * (seeds > 1)}." if seeds else "over the tuning seeds.",
            race_note(tuning),
            "From the choice the search goes on at full length, on the first tuning seed, to the "
            f"best of neighbouring rates; a choice so moved is said ({training['steps']:,} steps)."
            if steps < training["steps"]
            else "",
            "The readout's rate is in units in which the first step has rms η under every "
            "optimizer.",
            "Second − best: the next best cell less the best, paired by tuning seed, with the "
            f"{measured.statistics.confidence:.0%} t interval: the error of tuning itself.",
            f"Interior: both neighbours are worse by more than {measured.tolerance:g}; within that "
            "the smallest rate is taken.",
            "κ scales the rate of trained features; its search is larger than the other "
            "variants', so the choice at κ = 1 is shown too."
            if any(row.kappa is not None for row in _all_trials(measured))
            else "",
            corpus_note(measured),
        ]
    )


def _all_trials(measured: Measurements) -> list[Trial]:
    return [trial for width in measured.widths for trial in measured.trials("unfrozen", width)]


def _chosen(measured: Measurements, variant: str, width: int) -> dict:
    entry = measured.choice(variant, width)
    assert entry is not None
    trials = measured.trials(variant, width)
    searched = entry.get("searched_learning_rate", entry["learning_rate"])
    second = _second(measured, variant, width)
    moved = "" if searched == entry["learning_rate"] else f"; by the search {rate(searched)}"
    return {
        "name": f"{variant}-{width}",
        "label": ALL_VARIANTS[variant].label,
        "width": width,
        "learning_rate": entry["learning_rate"],
        "kappa": entry["kappa"],
        "searched_learning_rate": searched,
        "validation_loss_nats_per_token": _mean(mean_losses(trials), searched, entry["kappa"]),
        "second_minus_best": second.estimate,
        "second_lower": second.lower,
        "second_upper": second.upper,
        "shown_second": plus_minus(second) if second.count else MISSING,
        "interior": entry["interior"],
        "extensions": entry["extensions"],
        "note": entry["note"] + moved,
        **_searched(trials),
    }


def _second(measured: Measurements, variant: str, width: int) -> SampleMean:
    """The next best cell less the best, over the tuning seeds that all cells in the race ran on."""
    runs = measured.cell(variant, width, "tuning")
    loss = runs["validation_loss"].where(runs["status"] == "done", math.inf)
    cells = [runs["learning_rate"], runs["kappa"].fillna(0)]
    table = runs.assign(loss=loss).pivot_table("loss", runs["seed"], cells, dropna=False)
    in_race = table.loc[:, table.notna().all()]
    best = in_race.mean().sort_values(kind="stable").index[:2]
    values = in_race[best[1]] - in_race[best[0]] if len(best) == 2 else []
    return mean_interval([x for x in values if math.isfinite(x)], measured.statistics.confidence)


def _held(measured: Measurements, variant: str, width: int) -> dict:
    choice = measured.choice_at_kappa(variant, width, 1.0)
    assert choice is not None
    some = [trial for trial in measured.trials(variant, width) if trial.kappa == 1.0]
    return _unreported(f"{variant}-{width} at kappa 1", width, choice.learning_rate) | {
        "label": f"{ALL_VARIANTS[variant].label}, κ = 1",
        "kappa": 1.0,
        "validation_loss_nats_per_token": choice.validation_loss,
        "interior": choice.extend is None and choice.learning_rate is not None,
        "extensions": 0,
        "note": "for comparison; not the reported runs",
        **_searched(some),
    }


def _unreported(name: str, width: int, chosen: float | None) -> dict:
    """The columns of a row that no run is reported of."""
    nothing = dict.fromkeys(("second_minus_best", "second_lower", "second_upper"), math.nan)
    rates = dict.fromkeys(("learning_rate", "searched_learning_rate"), chosen)
    return {"name": name, "width": width, "shown_second": MISSING} | rates | nothing


def _trunk(measured: Measurements) -> dict:
    """The trunk's rate is fixed beforehand; the check says what other rates would have given."""
    entry = measured.choice(TRUNK, 0)
    assert entry is not None
    trials = measured.trials(TRUNK, 0)
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
    return _unreported("trunk", 0, fixed) | {
        "label": "Trunk (Adam), on no MLPs",
        "kappa": None,
        "validation_loss_nats_per_token": found,
        "interior": entry["interior"],
        "extensions": entry["extensions"],
        "note": "; ".join(["fixed beforehand", *others]),
        **_searched(trials),
    }


def _mean(means: dict[Cell, float], learning_rate: float | None, kappa: float | None) -> float:
    if learning_rate is None:
        return math.nan
    return means.get(Cell(learning_rate, kappa), math.nan)


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
