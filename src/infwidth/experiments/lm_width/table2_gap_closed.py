# SPDX-License-Identifier: Apache-2.0
"""Table 2: differences between the variants, the share of the gap that ADAM* closes, verdicts."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from infwidth.drawing.table import (
    MISSING,
    Table,
    comparison,
    number,
    p_value,
    plus_minus,
    sentences,
)
from infwidth.experiments.lm_width.comparisons import UNKNOWN, Comparison, compare, share_closed
from infwidth.experiments.lm_width.measured import Measurements
from infwidth.experiments.lm_width.notes import corpus_note, seeds_note
from infwidth.stats.gap_closed import GapClosed
from infwidth.stats.verdicts import Evidence, Verdict, at_every_width, verdict


class Pair(NamedTuple):
    """Two variants that are compared, the column's head, and the rule that judges them, if any."""

    first: str
    second: str
    head: str
    rule: str | None = None


PAIRS = (
    Pair("ntk", "frozen", "NTK − frozen", "worse"),
    Pair("ntk", "adam_star", "NTK − ADAM*"),
    Pair("adam_star", "frozen", "ADAM* − frozen", "tracks"),
    Pair("frozen", "unfrozen", "frozen − unfrozen"),
)
OURS = (
    Pair("ntk_measured", "frozen", "NTK on measured scales − frozen"),
    Pair("adam_star_measured", "frozen", "ADAM* on measured scales − frozen"),
)
"""Compared in the CSV only: rows that are not the paper's."""

COLUMNS = [
    *("width", "quantity", "unit", "first", "second", "estimate", "seeds_lower", "seeds_upper"),
    *("documents_lower", "documents_upper", "sd_of_differences", "correlation", "pairs"),
    *("pairs_lost", "seeds_needed", "power", "rule", "p_holds", "p_opposite", "found"),
]
"""Of the CSV: one row a (width, quantity), and one a claim over every width."""

RULES = {"worse": "NTK against frozen", "tracks": "ADAM* against frozen"}
WORDS = {"worse": ("worse", "better"), "tracks": ("within margin", "beyond margin")}


def build(measured: Measurements) -> Table:
    """Differences by width with both intervals, Fieller's ratio, seeds needed, verdicts.

    A verdict is that of one width by itself. Over every width there are p values and no word: that
    is for the claims, which correct it within their family.
    """
    raw, shown = [], []
    evidence: dict[str, list[Evidence]] = {rule: [] for rule in RULES}
    for width in measured.widths:
        compared = {pair: compare(measured, pair.first, pair.second, width) for pair in PAIRS}
        share = share_closed(measured, width)
        verdicts = {}
        for pair in PAIRS:
            if pair.rule is not None:
                found = _evidence(measured, pair, compared[pair])
                evidence[pair.rule].append(found)
                verdicts[pair.rule] = _word(measured, pair.rule, found, compared[pair] is not None)
        raw += [_row(measured, pair, each) for pair, each in compared.items() if each]
        extra = ((pair, compare(measured, pair.first, pair.second, width)) for pair in OURS)
        raw += [_row(measured, pair, each) for pair, each in extra if each]
        if share is not None:
            raw.append(_share_row(width, share, compared[PAIRS[0]]))
        shown.append(
            {"H": f"{width:,}"}
            | {pair.head: _show(each) for pair, each in compared.items()}
            | {"gap closed": _show_share(share)}
            | _show_seeds([each for each in compared.values() if each])
            | {RULES[rule]: word for rule, word in verdicts.items()}
        )
    shown.append(_every_width(measured, evidence, raw, list(shown[0])))
    return Table(
        "table2_gap_closed",
        _caption(measured),
        pd.DataFrame(raw, columns=COLUMNS),
        pd.DataFrame(shown),
    )


def _caption(measured: Measurements) -> str:
    settings = measured.statistics
    return sentences(
        [
            "Differences in final test loss, nats per token, paired by seed;",
            f"{seeds_note(measured)}.",
            "Intervals over test documents, and every p value, are in the CSV.",
            "Gap closed is (NTK − ADAM*) / (NTK − frozen) with Fieller's interval; where that is "
            "unbounded it is undefined, and the p value is that of ADAM* closing more than "
            f"{settings.gap_fraction:.0%}. No gap: the NTK does better than frozen features.",
            "r is the lowest correlation of a pair over seeds;",
            f"seeds needed show a difference of {settings.effect_of_interest:g} with power "
            f"{settings.power:g}, for the most demanding pair.",
            f"Worse, better: paired t test at level {1 - settings.confidence:.2g}.",
            f"Margin: equivalence (TOST) within ±{settings.equivalence_margin:g}.",
            "Last columns: one width by itself. Every width: p of an intersection-union test, and "
            "p of its opposite, at some width after Holm; the verdict, after correction "
            "for the family of the claim, is in table 5.",
            corpus_note(measured),
        ]
    )


def _evidence(measured: Measurements, pair: Pair, compared: Comparison | None) -> Evidence:
    if compared is None or pair.rule is None:
        return UNKNOWN
    if pair.rule == "worse":
        return compared.worse()
    return compared.tracks(measured.statistics.equivalence_margin)


def _word(measured: Measurements, rule: str, evidence: Evidence, ran: bool = True) -> str:
    settings = measured.statistics
    found = verdict(evidence, settings.confidence, settings.judge)
    return comparison(found, *WORDS[rule]) if ran else MISSING


def _every_width(
    measured: Measurements,
    evidence: dict[str, list[Evidence]],
    raw: list[dict[str, object]],
    columns: list[str],
) -> dict[str, str]:
    """The last row: p values of each claim over all widths. Adds the same to the raw rows."""
    row = dict.fromkeys(columns, "") | {"H": "every width"}
    for pair in PAIRS:
        if pair.rule is None:
            continue
        joint = at_every_width(evidence[pair.rule])
        ran = any(each["first"] == pair.first and each["second"] == pair.second for each in raw)
        row[RULES[pair.rule]] = _show_joint(measured, joint) if ran else MISSING
        if ran:
            raw.append(
                {
                    "width": "every",
                    "quantity": "difference",
                    "unit": "nats per token",
                    "first": pair.first,
                    "second": pair.second,
                    "rule": pair.rule,
                    "p_holds": joint.p_holds,
                    "p_opposite": joint.p_opposite,
                }
            )
    return row


def _show_joint(measured: Measurements, joint: Evidence) -> str:
    if not measured.statistics.judge:
        return str(Verdict.TOO_SMALL)
    return f"p: {p_value(joint.p_holds)}; opposite: {p_value(joint.p_opposite)}"


def _show(compared: Comparison | None) -> str:
    if compared is None:
        return MISSING
    lost = f" ({compared.lost} lost)" if compared.lost else ""
    return plus_minus(compared.over_seeds, sign=True) + lost


def _show_share(share: GapClosed | None) -> str:
    if share is None:
        return MISSING
    if share.no_gap:
        return "no gap"
    if share.defined:
        return f"{share.estimate:.0%} [{share.lower:.0%}, {share.upper:.0%}]".replace("-", "−")
    if math.isfinite(share.p_more_than_fraction):
        return f"undefined (p = {share.p_more_than_fraction:.2g})"
    return "undefined"


def _show_seeds(compared: Sequence[Comparison]) -> dict[str, str]:
    correlations = [each.over_seeds.correlation for each in compared]
    finite = [value for value in correlations if math.isfinite(value)]
    needed = [each.seeds_needed for each in compared]
    known = [value for value in needed if value is not None]
    return {
        "r": number(min(finite), 2) if finite else MISSING,
        "seeds": str(min((each.over_seeds.count for each in compared), default=0)),
        "needed": str(max(known)) if known and len(known) == len(needed) else MISSING,
    }


def _row(measured: Measurements, pair: Pair, compared: Comparison) -> dict[str, object]:
    evidence = _evidence(measured, pair, compared)
    return {
        "width": compared.width,
        "quantity": "difference",
        "unit": "nats per token",
        "first": pair.first,
        "second": pair.second,
        "estimate": compared.over_seeds.estimate,
        "seeds_lower": compared.over_seeds.lower,
        "seeds_upper": compared.over_seeds.upper,
        "documents_lower": compared.over_documents.lower,
        "documents_upper": compared.over_documents.upper,
        "sd_of_differences": compared.over_seeds.sd,
        "correlation": compared.over_seeds.correlation,
        "pairs": compared.over_seeds.count,
        "pairs_lost": compared.lost,
        "seeds_needed": compared.seeds_needed,
        "power": compared.power,
        "rule": pair.rule,
        "p_holds": evidence.p_holds,
        "p_opposite": evidence.p_opposite,
        "found": _word(measured, pair.rule, evidence) if pair.rule else None,
    }


def _share_row(width: int, share: GapClosed, whole: Comparison | None) -> dict[str, object]:
    return {
        "width": width,
        "quantity": "gap_closed",
        "unit": "fraction of (ntk - frozen)",
        "first": "ntk - adam_star",
        "second": "ntk - frozen",
        "estimate": share.estimate,
        "seeds_lower": share.lower,
        "seeds_upper": share.upper,
        "pairs": whole.over_seeds.count if whole else None,
        "rule": _share_rule(share),
        "p_holds": share.p_more_than_fraction,
    }


def _share_rule(share: GapClosed) -> str:
    if not share.defined:
        return f"undefined; more than {share.fraction:g} closed"
    return "defined" if share.gap > 0 else "no gap: ntk does better than frozen"
