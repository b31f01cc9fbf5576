# SPDX-License-Identifier: Apache-2.0
"""All that was measured here against all that was published: experiments, tables, claims.

Claims compare verdict by verdict, and each effect by its interval.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from infwidth.artifact.agreement import (
    LEVEL,
    Agreement,
    TableAgreement,
    compare_tables,
    name_runs,
)
from infwidth.artifact.published import Published
from infwidth.catalogue import schemas
from infwidth.claims.claims import Judged, JudgedClaims, Place
from infwidth.claims.judge import find, judge
from infwidth.claims.schema import Claims
from infwidth.config.errors import UserError
from infwidth.config.settings import Settings
from infwidth.experiments.registry import REGISTRY
from infwidth.experiments.tables import SETTINGS, SETTINGS_KEYS
from infwidth.provenance import MADE_BY
from infwidth.stats.statistics import holm
from infwidth.stored import read_columns, read_record

# The tables share the chance of a false alarm evenly, and the claims have as much as a table.
SHARE = LEVEL / (1 + sum(len(schemas(name)) for name in REGISTRY))

# All else in a record says where its numbers come from, or is one of them. The sentence on the
# corpus is all that experiments without `data` keep of it.
_COMPARED = (*Settings.model_fields, "corpus")


@dataclass(frozen=True)
class ClaimAgreement:
    """The effect of one claim at one place, published and here.

    Attributes:
        inside: whether each lies in the other's interval; None where there is no interval.
        p_value: two-sided, of their difference, after Holm over all claims and places; NaN where
            it cannot be tested.
        exact: published without error, such as a count of bytes.
    """

    label: str
    claim: str
    where: str
    published: float
    here: float
    inside: bool | None
    p_value: float
    exact: bool

    def disagrees(self, level: float) -> bool:
        """Whether it is beyond its error, or another number where there is no error."""
        return self.p_value < level or (self.exact and self.here != self.published)


@dataclass(frozen=True)
class ClaimsAgreement:
    """How all claims compare.

    Attributes:
        count: claims that both judged; those of an experiment that either lacks are no part.
        verdicts: those with another verdict: label, claim, published verdict, verdict here.
        effects: every place of every claim.
    """

    count: int
    verdicts: list[tuple[str, str, str, str]]
    effects: list[ClaimAgreement]

    def shifted(self, level: float) -> list[ClaimAgreement]:
        """The effects that differ beyond their errors."""
        return [each for each in self.effects if each.p_value < level]

    def overturned(self, level: float) -> list[tuple[str, str, str, str]]:
        """Of `verdicts`, those of claims of which an effect disagrees."""
        off = {each.claim for each in self.effects if each.disagrees(level)}
        return [each for each in self.verdicts if each[1] in off]

    def moved(self, level: float) -> list[tuple[str, str, str, str]]:
        """Of `verdicts`, all others: near a rule's bound chance decides the verdict."""
        overturned = self.overturned(level)
        return [each for each in self.verdicts if each not in overturned]


@dataclass(frozen=True)
class Comparison:
    """Everything that was compared.

    Attributes:
        tables: in the order of experiments.
        claims: judged on both sides from the experiments that both have.
        absent: experiments that were not run here.
        software: packages with another version here: name, published version, version here.
    """

    tables: list[TableAgreement]
    claims: ClaimsAgreement
    absent: list[str] = field(default_factory=list)
    software: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """Everything that disagrees, in words, a line each."""
        said = []
        for table in self.tables:
            found = [f"not here: {cell}" for cell in table.missing] + table.counted
            found += [
                f"{shift.outcome} at {shift.cell}: {shift.published:.6g} published, "
                f"{shift.here:.6g} here (p = {shift.p_value:.2g})"
                for shift in table.shifts
            ]
            if table.word is Agreement.DISAGREES and not found:
                found = [f"off by {table.largest:.2g} of the column's rms"]
            said += [f"{table.experiment}/{table.table}: {text}" for text in found]
        said += map(_verdict_in_words, self.claims.overturned(SHARE))
        said += [
            f"claim {each.label} ({each.claim}) at {each.where}: {each.published:.6g} published, "
            f"{each.here:.6g} here (p = {each.p_value:.2g})"
            for each in self.claims.shifted(SHARE)
        ]
        return said

    @property
    def moved(self) -> list[str]:
        """Every verdict that is another while no effect of its claim disagrees, a line each."""
        return [
            f"verdict moved, no effect disagrees: {_verdict_in_words(each)}"
            for each in self.claims.moved(SHARE)
        ]

    @property
    def exact(self) -> bool:
        """Whether every table that was compared is the same to the bit."""
        return all(table.word is Agreement.IDENTICAL for table in self.tables)


def compare(
    published: Published, here: Mapping[str, Path], settings: Settings, rules: Claims
) -> Comparison:
    """Compares measurements, in a folder for each experiment, with the published ones.

    Raises:
        UserError: nothing was measured here, or with other settings, or a file is damaged.
    """
    there = [name for name in REGISTRY if published.measurements(name).is_dir()]
    ran = [name for name in there if name in here]
    if not ran:
        raise UserError(
            "nothing was measured here by the default configuration, the one that is published: "
            "run `make reproduce` first, or a part of it"
        )
    tables: list[TableAgreement] = []
    software: list[tuple[str, str, str]] = []
    for experiment in ran:
        folders = published.measurements(experiment), here[experiment]
        before, after = (read_record(folder / SETTINGS, SETTINGS_KEYS) for folder in folders)
        require_same_settings(folders[1], before, after)
        software += _other_versions(before, after)
        tables += _tables(experiment, *folders)
    asked = [each.experiment for each in rules.claims]
    judged = [
        judge(rules, {name: find(name, folder(name)) for name in ran if name in asked}, settings)
        for folder in (published.measurements, lambda name: here[name])
    ]
    absent = [name for name in there if name not in ran]
    return Comparison(tables, compare_claims(*judged), absent, list(dict.fromkeys(software)))


def _verdict_in_words(verdict: tuple[str, str, str, str]) -> str:
    label, claim, before, after = verdict
    return f"claim {label} ({claim}): {before} published, {after} here"


def _other_versions(
    published: Mapping[str, Any], here: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    """Packages with another version here: in the process that wrote the record, and in its runs."""
    kept = [(published, here)]
    kept += [(published.get(key, {}), here.get(key, {})) for key in (MADE_BY, "runs")]
    for before, after in kept:
        versions = after.get("software", {})
        for name, version in before.get("software", {}).items():
            if (other := versions.get(name, version)) != version:
                yield name, version, other


def _tables(experiment: str, published: Path, here: Path) -> Iterator[TableAgreement]:
    known = schemas(experiment)
    for table, schema in known.items():
        frames = []
        for folder in (published, here):
            frame = read_columns(folder / f"{table}.parquet", ())
            if schema.by_run:
                frame = name_runs(frame, read_columns(folder / "runs.parquet", ("key",)))
            frames.append(frame)
        named = schema.named_by(known["runs"]) if schema.by_run else schema
        yield compare_tables(experiment, table, named, frames[0], frames[1], SHARE)


def require_same_settings(
    place: Path, published: Mapping[str, Any], here: Mapping[str, Any]
) -> None:
    """Refuses measurements of another configuration; more seeds, widths or variants may be there.

    Settings that just one side has were added or left out by a change in the code. What else a
    record holds, such as commit, device and the rates that were chosen, may differ.

    Raises:
        UserError: the first setting that differs.
    """
    if published["name"] != here["name"]:
        raise UserError(
            f"{place} holds the configuration '{here['name']}', and what is published is "
            f"'{published['name']}': numbers of two configurations do not compare"
        )
    settings = ({key: side[key] for key in _COMPARED if key in side} for side in (published, here))
    for key, before, after in _differences("", *settings):
        raise UserError(
            f"{place}: measured with {key} = {after}, and what is published with {before}: "
            "measure it with the published settings to compare"
        )


def _differences(place: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in before:
            if key in after:
                inner = f"{place}.{key}" if place else key
                yield from _differences(inner, before[key], after[key])
    elif isinstance(before, list) and isinstance(after, list):
        if not all(x in after for x in before):
            yield place, before, after
    elif before != after:
        yield place, before, after


def compare_claims(published: JudgedClaims, here: JudgedClaims) -> ClaimsAgreement:
    """Compares claims that were judged by the same rules; of those not measured there is no word.

    Where both intervals are known, their half widths towards each other give the two standard
    errors (they are t or normal intervals), and these that of the difference of the two effects.
    """
    there = {each.claim.id: each for each in here.claims}
    pairs = [
        (each, there[each.claim.id])
        for each in published.claims
        if each.measurements and there[each.claim.id].measurements
    ]
    verdicts = [
        (one.label, one.claim.id, str(one.verdict), str(other.verdict))
        for one, other in pairs
        if one.verdict is not other.verdict
    ]
    effects = [row for one, other in pairs for row in _effects(one, other, published.confidence)]
    corrected = holm([row.p_value for row in effects])
    effects = [replace(row, p_value=p) for row, p in zip(effects, corrected, strict=True)]
    return ClaimsAgreement(len(pairs), verdicts, effects)


def _effects(one: Judged, other: Judged, confidence: float) -> list[ClaimAgreement]:
    here = {place.where: place for place in other.places}
    return [
        ClaimAgreement(
            *(one.label, one.claim.id, place.where, place.estimate),
            *_compare(place, here.get(place.where), confidence),
            exact=place.exact,
        )
        for place in one.places
    ]


def _compare(
    place: Place, other: Place | None, confidence: float
) -> tuple[float, bool | None, float]:
    """The effect here, whether each is in the other's interval, and the p value."""
    if other is None:
        return math.nan, None, math.nan
    low, high = sorted((place, other), key=lambda each: each.estimate)
    gap = high.estimate - low.estimate
    if place.exact and other.exact:
        # No error, no test: what a compiler takes differs by platform, and only another number
        # that changes the verdict is a disagreement.
        return other.estimate, gap == 0, math.nan
    reach = np.array([low.upper - low.estimate, high.estimate - high.lower])
    if not np.isfinite(reach).all():
        return other.estimate, None, math.nan
    inside = bool(gap <= reach.min())
    freedom = [math.inf if each.freedom is None else each.freedom for each in (low, high)]
    error = float(np.linalg.norm(reach / special.stdtrit(freedom, (1 + confidence) / 2)))
    if gap == 0:
        return other.estimate, inside, 1.0
    p_value = 2 * float(special.stdtr(sum(freedom), -gap / error)) if error else 0.0
    return other.estimate, inside, p_value
