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
from infwidth.experiments.lm_width.measured import NO_INTERVAL, Comparison, Measurements
from infwidth.experiments.lm_width.notes import corpus_note, seeds_note
from infwidth.stats.effects import GapClosed
from infwidth.stats.verdicts import Evidence, Verdict, at_every_width, tracks, verdict, worse

UNKNOWN = Evidence(math.nan, math.nan)


class Rule(NamedTuple):
    """What judges a pair: its name in the CSV, the head of its column, and its words."""

    name: str
    head: str
    holds: str
    fails: str


class Pair(NamedTuple):
    """Two variants that are compared, and the column's head."""

    first: str
    second: str
    head: str


PAIRS = (
    Pair("ntk", "frozen", "NTK − frozen"),
    Pair("ntk", "adam_star", "NTK − ADAM*"),
    Pair("adam_star", "frozen", "ADAM* − frozen"),
    Pair("frozen", "unfrozen", "frozen − unfrozen"),
)
OURS = (
    Pair("ntk_measured", "frozen", "NTK on measured scales − frozen"),
    Pair("adam_star_measured", "frozen", "ADAM* on measured scales − frozen"),
)
"""Compared in the CSV only: rows that are not the paper's."""

NTK, STAR = PAIRS[0], PAIRS[2]

RULES = {
    NTK: Rule("worse", "NTK against frozen", "worse", "better"),
    STAR: Rule("tracks", "ADAM* against frozen", "within margin", "beyond margin"),
}

COLUMNS = [
    *("width", "quantity", "unit", "first", "second", "estimate", "seeds_lower", "seeds_upper"),
    *("documents_lower", "documents_upper", "sd_of_differences", "correlation", "pairs"),
    *("pairs_lost", "seeds_needed", "power", "rule", "p_holds", "p_opposite", "found"),
]
"""Of the CSV: one row a (width, quantity), and one a claim over every width."""


def build(measured: Measurements) -> Table:
    """Differences by width with both intervals, Fieller's ratio, seeds needed, verdicts.

    A verdict is that of one width by itself. Over every width there are p values and no word: that
    is for the claims, which correct it within their family.
    """
    raw: list[dict[str, object]] = []
    shown: list[dict[str, str]] = []
    evidence: dict[Pair, list[Evidence]] = {pair: [] for pair in RULES}
    ran: set[Pair] = set()
    for width in measured.widths:
        found = {pair: measured.compare(pair.first, pair.second, width) for pair in PAIRS + OURS}
        compared = {pair: each for pair, each in found.items() if each}
        ran |= compared.keys()
        raw += [_row(measured, pair, each) for pair, each in compared.items()]
        share = measured.share_closed(width)
        if share is not None:
            raw.append(_share_row(width, share, found[NTK]))
        words = {}
        for pair, rule in RULES.items():
            evidence[pair].append(_evidence(measured, pair, found[pair]))
            word = _word(measured, rule, evidence[pair][-1])
            words[rule.head] = word if pair in compared else MISSING
        shown.append(
            {"H": f"{width:,}"}
            | {pair.head: _show(found[pair]) for pair in PAIRS}
            | {"gap closed": _show_share(share)}
            | _show_seeds([compared[pair] for pair in PAIRS if pair in compared])
            | words
        )
    last = dict.fromkeys(shown[0], "") | {"H": "every width"}
    for pair, rule in RULES.items():
        joint = at_every_width(evidence[pair])
        last[rule.head] = _show_joint(measured, joint) if pair in ran else MISSING
        if pair in ran:
            raw.append({"width": "every"} | _judged(pair, joint))
    raw_table, shown_table = pd.DataFrame(raw, columns=COLUMNS), pd.DataFrame([*shown, last])
    return Table("table2_gap_closed", _caption(measured), raw_table, shown_table)


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
    """By the pair's rule; none where it has no rule, never ran, or lost a seed."""
    if compared is None or pair not in RULES:
        return UNKNOWN
    if pair == NTK:
        return worse(compared.effect)
    return tracks(compared.effect, measured.statistics.equivalence_margin)


def _word(measured: Measurements, rule: Rule, evidence: Evidence) -> str:
    settings = measured.statistics
    found = verdict(evidence, settings.confidence, settings.judge)
    return comparison(found, rule.holds, rule.fails)


def _show_joint(measured: Measurements, joint: Evidence) -> str:
    if not measured.statistics.judge:
        return str(Verdict.TOO_SMALL)
    return f"p: {p_value(joint.p_holds)}; opposite: {p_value(joint.p_opposite)}"


def _show(compared: Comparison | None) -> str:
    if compared is None:
        return MISSING
    lost = f" ({compared.effect.lost} lost)" if compared.effect.lost else ""
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
    correlations = [each.correlation for each in compared]
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
    documents = compared.effect.documents or NO_INTERVAL
    return {
        "width": compared.width,
        "estimate": compared.over_seeds.estimate,
        "seeds_lower": compared.over_seeds.lower,
        "seeds_upper": compared.over_seeds.upper,
        "documents_lower": documents.lower,
        "documents_upper": documents.upper,
        "sd_of_differences": compared.over_seeds.sd,
        "correlation": compared.correlation,
        "pairs": compared.over_seeds.count,
        "pairs_lost": compared.effect.lost,
        "seeds_needed": compared.seeds_needed,
        "power": compared.power,
        **_judged(pair, evidence),
        "found": _word(measured, RULES[pair], evidence) if pair in RULES else None,
    }


def _judged(pair: Pair, evidence: Evidence) -> dict[str, object]:
    return {
        "quantity": "difference",
        "unit": "nats per token",
        "first": pair.first,
        "second": pair.second,
        "rule": RULES[pair].name if pair in RULES else None,
        "p_holds": evidence.p_holds,
        "p_opposite": evidence.p_opposite,
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
