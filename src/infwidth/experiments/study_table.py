# SPDX-License-Identifier: Apache-2.0
"""The table of a study: a row for every variant in a condition at a width."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from infwidth.config.variants import ALL_VARIANTS
from infwidth.drawing.table import (
    MISSING,
    Table,
    comparison,
    count,
    interval_columns,
    number,
    plus_minus,
    rate,
    sentences,
)
from infwidth.experiments.measured import GAP, Study
from infwidth.stats.effects import Effect
from infwidth.stats.statistics import Interval, mean_interval
from infwidth.stats.verdicts import Evidence, verdict

NOTE = "ADAM*'s formula is our reconstruction (B), not the paper's text; measured scales are ours."


class Difference(NamedTuple):
    """A test loss less another's, and whose that is."""

    effect: Effect
    other: str


Differences = Callable[[str, str, int], Difference | None]
"""Of a condition, a variant and a width what it is compared with, if with anything."""


def build(
    name: str,
    measured: Study,
    about: Iterable[str],
    differences: Differences | None = None,
    more: Iterable[dict[str, Any]] = (),
) -> Table:
    """Makes the table.

    Args:
        name: of the table.
        measured: the study.
        about: sentences of the caption that are the study's own.
        differences: the comparison of a row; by default frozen features, paired by seed.
        more: rows after these, of "label", "variant", "width" and "difference".
    """
    against = differences or _against_frozen(measured)
    rows = [
        _row(measured, condition, variant, width, against(condition, variant, width))
        for condition, each in measured.conditions.items()
        for variant, width in each["arms"]
        if width
    ]
    rows += [_extra_row(measured, **each) for each in more]
    settings = measured.settings["statistics"]
    level = 1 - measured.confidence
    caption = sentences(
        [
            *about,
            "Losses in nats per token; of training, the mean of the last tenth of the steps. "
            f"± is the half width of the {measured.confidence:.0%} t interval over seeds.",
            f"Worse: by more than {settings['equivalence_margin']:g}; not worse: by less; both by "
            f"t tests at level {level:.2g}, one row by itself.",
            "Gap closed: (NTK − ADAM*) / (NTK − frozen), Fieller's interval."
            if any("gap closed" in row[1] and row[1]["gap closed"] != MISSING for row in rows)
            else "",
            "η in units in which each rule's first step has rms η."
            + (" † Not interior." if any("†" in row[1]["Variant"] for row in rows) else ""),
            f"Corpus: {measured.settings['corpus']}. {NOTE}",
        ]
    )
    return Table.of_rows(name, caption, rows)


def _against_frozen(measured: Study) -> Differences:
    def difference(condition: str, variant: str, width: int) -> Difference | None:
        if variant == "frozen" or not measured.ran(condition, ["frozen"], width):
            return None
        weights = {(condition, variant, width): 1, (condition, "frozen", width): -1}
        return Difference(measured.contrast("", weights), "frozen")

    return difference


def _row(
    measured: Study, condition: str, variant: str, width: int, difference: Difference | None
) -> tuple[dict[str, Any], dict[str, str]]:
    given = measured.conditions[condition]
    chosen = measured.settings["selection"][f"{condition}-{variant}-{width}"]
    losses = {
        split: mean_interval(
            list(measured.losses(condition, variant, width, split).values()), measured.confidence
        )
        for split in ("train", "test")
    }
    test = losses["test"]
    lost = len(given["seeds"]) - test.count
    gap = None
    if variant == "adam_star" and measured.ran(condition, GAP, width):
        gap = measured.gap_closed("", condition, width).interval(measured.confidence)
    raw_difference, shown_difference = _difference(measured, difference)
    raw = {
        "condition": condition,
        **given["factors"],
        "variant": variant,
        "width": width,
        "train_loss_nats": losses["train"].estimate,
        **interval_columns("test_loss", test, "_nats"),
        "seeds": test.count,
        "lost": lost,
        **raw_difference,
        **interval_columns("gap_closed", gap),
        "learning_rate_tuned": chosen["learning_rate"],
        "kappa": chosen["kappa"],
        "interior": chosen["interior"],
        "tuning": chosen["note"],
    }
    shown = {
        "Setting": given["label"],
        "Variant": ALL_VARIANTS[variant].label + ("" if chosen["interior"] else " †"),
        "H": count(width),
        "η": rate(chosen["learning_rate"]),
        "training loss": number(losses["train"].estimate),
        "test loss": plus_minus(test) + (f", {lost} lost" if lost else ""),
        **shown_difference,
        "gap closed": _share(gap),
    }
    return raw, shown


def _extra_row(
    measured: Study, label: str, variant: str, width: int, difference: Difference
) -> tuple[dict[str, Any], dict[str, str]]:
    raw, shown = _difference(measured, difference)
    names = {"Setting": label, "Variant": ALL_VARIANTS[variant].label, "H": count(width)}
    return {"condition": label, "variant": variant, "width": width} | raw, names | shown


def _difference(
    measured: Study, difference: Difference | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """The columns of a difference, as raw numbers and as they are shown."""
    if difference is None:
        return {}, dict.fromkeys(("minus", "difference", "found"), MISSING)
    effect, settings = difference.effect, measured.settings["statistics"]
    interval, margin = effect.interval(measured.confidence), settings["equivalence_margin"]
    evidence = Evidence(effect.p_below(margin), effect.p_above(margin))
    word = verdict(evidence, measured.confidence, settings["judge"])
    found = comparison(word, "not worse", "worse")
    raw = {
        "minus": difference.other,
        **interval_columns("difference", interval, "_nats"),
        "p_not_worse": evidence.p_holds,
        "p_worse": evidence.p_opposite,
        "found": found,
    }
    shown = plus_minus(interval, sign=True)
    if effect.readings:
        shown = f"{number(interval.lower)} to {number(interval.upper)}"
    return raw, {"minus": difference.other, "difference": shown, "found": found}


def _share(gap: Interval | None) -> str:
    if gap is None:
        return MISSING
    if math.isnan(gap.estimate):
        return "no gap"
    shown = f"{number(100 * gap.estimate, 0)}%"
    if not gap.upper > gap.lower:
        return f"{shown} (unbounded)"
    return f"{shown} ({number(100 * gap.lower, 0)} to {number(100 * gap.upper, 0)})"
