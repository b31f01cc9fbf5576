# SPDX-License-Identifier: Apache-2.0
"""Table 5: every claim and question, with the number that decides, its rule and its verdict."""

from dataclasses import asdict

import pandas as pd

from infwidth.claims.claims import Judged, JudgedClaims
from infwidth.claims.words import SOURCES, decisive_number, rule, scope
from infwidth.drawing.table import Table, p_value, sentences

COLUMNS = [
    *("claim", "id", "source", "statement", "experiment", "effect", "unit", "place", "judged"),
    *("estimate", "seeds_lower", "seeds_upper", "documents_lower", "documents_upper", "repeats"),
    *("lost", "p_holds", "p_opposite", "rule", "scope", "family", "level", "p_holds_scope"),
    *("p_opposite_scope", "p_holds_holm", "p_opposite_holm", "verdict", "commit", "note"),
]
"""Of the CSV: one row a (claim, place); a claim that was not measured has one without numbers."""


def build(judged: JudgedClaims) -> Table:
    """One row a claim; the CSV has every place, both p values, and what was measured."""
    raw = [row for each in judged.claims for row in _raw(each)]
    shown = [_shown(each) for each in judged.claims]
    return Table(
        "table5_claims", _caption(judged), pd.DataFrame(raw, columns=COLUMNS), pd.DataFrame(shown)
    )


def _shown(judged: Judged) -> dict[str, str]:
    return {
        "no.": judged.label,
        "claim or question": judged.claim.statement,
        "who": {"paper": "paper", "open": "left open", "ours": "ours"}[judged.claim.source],
        "effect (at)": decisive_number(judged),
        "rule": f"{rule(judged)}, {scope(judged)}",
        "p": p_value(judged.p_holds),
        "Holm": p_value(judged.holm_holds),
        "p of the opposite": p_value(judged.p_opposite),
        "its Holm": p_value(judged.holm_opposite),
        "verdict": str(judged.verdict),
    }


def _raw(judged: Judged) -> list[dict[str, object]]:
    claim = judged.claim
    named = {"id", "source", "statement", "experiment", "effect", "unit", "family"}
    common = claim.model_dump(include=named) | {
        "claim": judged.label,
        "rule": rule(judged),
        "scope": scope(judged),
        "level": judged.level,
        "p_holds_scope": judged.p_holds,
        "p_opposite_scope": judged.p_opposite,
        "p_holds_holm": judged.holm_holds,
        "p_opposite_holm": judged.holm_opposite,
        "verdict": str(judged.verdict),
        "commit": judged.measurements["commit"] if judged.measurements else None,
        "note": judged.note,
    }
    places = [
        asdict(place)
        | {
            "place": place.where,
            "judged": k in judged.judged,
            "seeds_lower": place.lower,
            "seeds_upper": place.upper,
        }
        for k, place in enumerate(judged.places)
    ]
    return [common | place for place in places or [{}]]


def _caption(judged: JudgedClaims) -> str:
    levels = " and ".join(sorted({f"{family['level']:.2g}" for family in judged.families.values()}))
    return sentences(
        [
            "Claims and questions, each with the number that decides it by a rule of "
            "config/claims.yaml; ± is the half width of its "
            f"{judged.confidence:.0%} interval, other intervals are in brackets.",
            "p: that the rule's statement holds, over the places that it takes; Holm: after Holm's "
            "correction within its family; the same for its opposite.",
            f"Level {levels}.",
            *(f"Corpus: {corpus}." for corpus in judged.corpora),
            "ADAM*'s formula is our reconstruction (B), not the paper's text.",
            f"Who: {SOURCES['paper']}, {SOURCES['open']}, or {SOURCES['ours']}.",
        ]
    )
