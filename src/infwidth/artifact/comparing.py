# SPDX-License-Identifier: Apache-2.0
"""All that was measured here against all that was published: experiments, tables, claims."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infwidth.artifact.agreement import (
    LEVEL,
    Agreement,
    TableAgreement,
    compare_tables,
    name_runs,
)
from infwidth.artifact.agreement_claims import ClaimsAgreement, compare_claims
from infwidth.artifact.published import Published
from infwidth.catalogue import schemas
from infwidth.claims.judge import find, judge
from infwidth.claims.schema import Claims
from infwidth.config.errors import UserError
from infwidth.config.settings import Settings
from infwidth.experiments.registry import REGISTRY
from infwidth.experiments.tables import SETTINGS, SETTINGS_KEYS
from infwidth.provenance import MADE_BY
from infwidth.reading import read_json, read_table

# The tables share the chance of a false alarm evenly, and the claims have as much as a table.
SHARE = LEVEL / (1 + sum(len(schemas(name)) for name in REGISTRY))

# All else in a record says where its numbers come from, or is one of them. The sentence on the
# corpus is all that experiments without `data` keep of it.
_COMPARED = (*Settings.model_fields, "corpus")


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
            place = f"{table.experiment}/{table.table}"
            said += [f"{place}: not here: {cell}" for cell in table.missing]
            said += [f"{place}: {text}" for text in table.counted]
            said += [
                f"{place}: {shift.outcome} at {shift.cell}: {shift.published:.6g} published, "
                f"{shift.here:.6g} here (p = {shift.p_value:.2g})"
                for shift in table.shifts
            ]
            if table.word is Agreement.DISAGREES and not (
                table.missing or table.counted or table.shifts
            ):
                said.append(f"{place}: off by {table.largest:.2g} of the column's rms")
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
    """Compares measurements with the published ones.

    Args:
        published: what was published.
        here: by experiment, the folder of what was measured here.
        settings: by which claims are judged.
        rules: of the claims.

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
        before, after = (read_json(folder / SETTINGS, SETTINGS_KEYS) for folder in folders)
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


def _tables(experiment: str, published: Path, here: Path) -> list[TableAgreement]:
    compared = []
    known = schemas(experiment)
    for table, schema in known.items():
        frames = []
        for folder in (published, here):
            frame = read_table(folder / f"{table}.parquet", ())
            if schema.by_run:
                frame = name_runs(frame, read_table(folder / "runs.parquet", ("key",)))
            frames.append(frame)
        named = schema.named_by(known["runs"]) if schema.by_run else schema
        compared.append(compare_tables(experiment, table, named, frames[0], frames[1], SHARE))
    return compared


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


def _differences(place: str, before: Any, after: Any) -> list[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return [
            found
            for key in before
            if key in after
            for found in _differences(f"{place}.{key}" if place else key, before[key], after[key])
        ]
    if before == after:
        return []
    if isinstance(before, list) and isinstance(after, list) and all(x in after for x in before):
        return []
    return [(place, before, after)]
