# SPDX-License-Identifier: Apache-2.0
"""Judges every claim by its rule: measurements and rules in, evidence and verdicts out."""

import importlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from infwidth.catalogue import effects_module, reader
from infwidth.claims.claims import Judged, JudgedClaims, Place
from infwidth.claims.schema import (
    Claims,
    Equivalent,
    Greater,
    Less,
    labels,
    number_of,
    stood_before,
)
from infwidth.claims.words import is_unbounded
from infwidth.config.errors import UserError
from infwidth.config.settings import Settings
from infwidth.stats.effects import Effect
from infwidth.stats.statistics import holm, two_sided
from infwidth.stats.verdicts import Evidence, Verdict, at_every_width, at_some_width, verdict


@dataclass(frozen=True)
class Found:
    """What an experiment found: effects by name, place by place.

    The record holds commit, configuration, corpus and digests of its measurements.
    """

    effects: Mapping[str, list[Effect]]
    record: dict[str, Any]
    settings: Mapping[str, Any]


def find(experiment: str, folder: Path) -> Found:
    """Reads what an experiment measured and takes its effects from it."""
    measured = importlib.import_module(reader(experiment)).load(folder)
    effects = importlib.import_module(effects_module(experiment)).effects(measured)
    provenance = measured.provenance()
    record = {name: provenance[name] for name in ("commit", "configuration", "inputs")}
    settings = provenance["settings"]
    return Found(effects, record | {"corpus": settings.get("corpus")}, settings)


def judge(
    rules: Claims, found: Mapping[str, Found], settings: Settings, text: str = ""
) -> JudgedClaims:
    """Judges every claim by what its experiment found.

    A claim whose experiment is not among these is not measured, and left out where that is so of
    its whole family. In the text of the file of the rules claims are looked up by line.
    """
    label_of, confidence = labels(rules), settings.statistics.confidence
    levels = {name: number_of(each.level, settings) for name, each in rules.families.items()}
    # A family of which nothing was measured is another configuration's.
    asked = {claim.family for claim in rules.claims if claim.experiment in found}
    rows = []
    for claim in rules.claims:
        if claim.family not in asked:
            continue
        bounds = claim.rule.model_dump(exclude={"kind"})
        row = Judged(
            *(label_of[claim.id], claim, _line(text, claim.id)),
            bounds={name: number_of(bound, settings) for name, bound in bounds.items()},
            level=levels[claim.family],
            verdict=Verdict.NOT_MEASURED,
            note=f"The experiment `{claim.experiment}` was not measured here.",
            fixed=claim.fixed,
        )
        there = found.get(claim.experiment)
        if there is not None:
            row = _with_evidence(row, there, confidence)
            if claim.fixed == "fresh_seeds":
                fresh = stood_before(rules, claim, there.settings)
                row = replace(row, fixed="fresh_seeds" if fresh else "after")
        rows.append(row)
    judged = _with_verdicts(rows, settings.statistics.judge)
    families = {
        name: {
            "level": levels[name],
            "about": family.about,
            "claims": sum(claim.family == name for claim in rules.claims),
        }
        for name, family in rules.families.items()
        if name in asked
    }
    return JudgedClaims(settings.name, confidence, families, judged)


def _with_evidence(row: Judged, found: Found, confidence: float) -> Judged:
    """The row with its places and the evidence over its scope, before Holm."""
    claim = row.claim
    if claim.effect not in found.effects:
        known = ", ".join(found.effects)
        raise UserError(
            f"claim '{claim.id}': {claim.experiment} has no effect '{claim.effect}'; it has {known}"
        )
    effects = found.effects[claim.effect]
    row = replace(row, measurements=found.record)
    if not effects:
        needs = "something that it compares was not run in this configuration"
        return replace(row, note=f"`{claim.experiment}` has no place for it: {needs}.")
    evidence = [evidence_at(claim.rule, row.bounds, effect) for effect in effects]
    places = [_place(*pair, confidence) for pair in zip(effects, evidence, strict=True)]
    taken, absent = places_of(claim.scope, effects)
    row = replace(row, places=places, judged=taken)
    if absent:
        there = ", ".join(place.where for place in places)
        return replace(row, note=f"There is no place {absent[0]}; there are {there}.")
    lacking = not_measured(claim.needs, effects)
    if lacking:
        names = " and ".join(f"'{name}'" for name in lacking)
        said = f"Nothing was measured at {names}, of which the statement speaks."
        return replace(row, note=said)
    whole = evidence_over(claim.scope, [evidence[k] for k in taken])
    return replace(
        row,
        p_holds=whole.p_holds,
        p_opposite=whole.p_opposite,
        verdict=Verdict.INCONCLUSIVE,
        note=_note([places[k] for k in taken]),
    )


def _with_verdicts(rows: list[Judged], judge: bool) -> list[Judged]:
    """Holm within each family, then the word. What is not measured counts in its family, too."""
    done = list(rows)
    for family in dict.fromkeys(row.claim.family for row in rows):
        members = [k for k, row in enumerate(rows) if row.claim.family == family]
        holds = holm([rows[k].p_holds for k in members])
        opposite = holm([rows[k].p_opposite for k in members])
        for k, p_holds, p_opposite in zip(members, holds, opposite, strict=True):
            row = replace(rows[k], holm_holds=p_holds, holm_opposite=p_opposite)
            done[k] = row if row.verdict is Verdict.NOT_MEASURED else _decided(row, judge)
    return done


def _decided(row: Judged, judge: bool) -> Judged:
    after_holm = Evidence(row.holm_holds, row.holm_opposite)
    word = verdict(after_holm, 1 - row.level, judge, row.claim.is_question)
    places = [row.places[k] for k in row.judged]
    evidence = [Evidence(place.p_holds, place.p_opposite) for place in places]
    slacks = [slack(row.claim.rule, row.bounds, place.estimate) for place in places]
    k = decisive(row.claim.scope, evidence, slacks, word)
    return replace(
        row,
        verdict=word,
        decisive=None if k is None else row.judged[k],
        note=" ".join(filter(None, [row.note, _lost_to_holm(row, word)])),
    )


def _lost_to_holm(row: Judged, word: Verdict) -> str:
    """That a claim would be decided if it were the only one, since its interval looks like it."""
    alone = min((p for p in (row.p_holds, row.p_opposite) if not math.isnan(p)), default=math.nan)
    if word is not Verdict.INCONCLUSIVE or not alone < row.level:
        return ""
    return (
        f"By itself it would be decided (p = {alone:.2g}); Holm's correction over its family, "
        f"which keeps many questions from finding one answer by chance, leaves it open."
    )


def _place(effect: Effect, evidence: Evidence, confidence: float) -> Place:
    interval, documents = effect.interval(confidence), effect.documents
    return Place(
        *(effect.where, effect.estimate, interval.lower, interval.upper),
        documents_lower=documents.lower if documents else math.nan,
        documents_upper=documents.upper if documents else math.nan,
        repeats=effect.count,
        freedom=effect.freedom if math.isfinite(effect.freedom) else None,
        lost=effect.lost,
        exact=effect.is_exact,
        p_holds=evidence.p_holds,
        p_opposite=evidence.p_opposite,
    )


def _note(places: list[Place]) -> str:
    """What is missing for a test or an interval, place by place."""
    said = []
    for place in places:
        if place.lost:
            of = place.repeats + place.lost
            said.append(f"{place.where}: {place.lost} of {of} repeats lost, so no test there.")
        elif place.repeats < 2 and not place.exact:
            said.append(f"{place.where}: one repeat, so neither interval nor test.")
        elif place.lower == place.upper and not place.exact:
            said.append(f"{place.where}: all {place.repeats} repeats are equal, so no test there.")
        elif math.isnan(place.p_holds):
            said.append(f"{place.where}: the error is not known, so no test there.")
        elif is_unbounded(place):
            said.append(f"{place.where}: the interval is unbounded.")
    return " ".join(said)


def _line(text: str, name: str) -> int:
    """The line of the file on which a claim begins; 1 if it is not found."""
    for number, line in enumerate(text.splitlines(), 1):
        if re.fullmatch(rf"\s*-\s+id:\s*{re.escape(name)}\s*", line):
            return number
    return 1


def evidence_at(
    rule: Greater | Less | Equivalent, bounds: dict[str, float], effect: Effect
) -> Evidence:
    """p values of the claim and of its opposite at one place.

    For a direction both are two-sided, so that at one level the test and the interval that is
    shown agree. Equivalence is by two one-sided tests; its opposite, that the effect lies beyond
    the margin, is two-sided.
    """
    if isinstance(rule, Equivalent):
        lower, upper = bounds["to"] - bounds["within"], bounds["to"] + bounds["within"]
        inside = max(effect.p_above(lower), effect.p_below(upper))
        return Evidence(inside, two_sided(min(effect.p_above(upper), effect.p_below(lower))))
    above, below = (two_sided(p(bounds["than"])) for p in (effect.p_above, effect.p_below))
    return Evidence(above, below) if isinstance(rule, Greater) else Evidence(below, above)


def places_of(scope: str | Sequence[str], effects: Sequence[Effect]) -> tuple[list[int], list[str]]:
    """Which places a scope takes, by index; and the names in it that are not there."""
    if isinstance(scope, str):
        every = list(range(len(effects)))
        return (every[-1:] if scope == "last_place" else every), []
    names = [effect.where for effect in effects]
    return [names.index(n) for n in scope if n in names], [n for n in scope if n not in names]


def not_measured(needs: Sequence[str], effects: Sequence[Effect]) -> list[str]:
    """Which of these are a part of no place's name."""
    return [need for need in needs if not any(need in effect.where for effect in effects)]


def evidence_over(scope: str | Sequence[str], evidence: Sequence[Evidence]) -> Evidence:
    """Evidence over all places that a scope takes."""
    return at_some_width(evidence) if scope == "some_place" else at_every_width(evidence)


def slack(rule: Greater | Less | Equivalent, bounds: dict[str, float], estimate: float) -> float:
    """How far an estimate lies on the claim's side of the rule's bound; negative beyond it."""
    if isinstance(rule, Equivalent):
        return bounds["within"] - abs(estimate - bounds["to"])
    excess = estimate - bounds["than"]
    return excess if isinstance(rule, Greater) else -excess


def decisive(
    scope: str | Sequence[str],
    evidence: Sequence[Evidence],
    slacks: Sequence[float],
    word: Verdict,
) -> int | None:
    """Which place decides: the weakest of a claim that must hold at all, the strongest otherwise.

    Against a claim it is the place at which its opposite is shown best; without a verdict the one
    that keeps the claim from being shown. A place without a test counts as the weakest. Where p
    values are equal, such as those of exact numbers, slacks tell, and then the order of places.
    """
    if not evidence:
        return None
    against = word in (Verdict.CONTRADICTED, Verdict.NO)

    def support(place: int) -> tuple[float, float]:
        p_value = evidence[place].p_opposite if against else -evidence[place].p_holds
        if math.isnan(p_value):
            return (math.inf if against else -math.inf), 0.0
        return p_value, slacks[place]

    return (max if scope == "some_place" else min)(range(len(evidence)), key=support)
