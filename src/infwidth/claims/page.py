# SPDX-License-Identifier: Apache-2.0
"""The page of claims: one line a claim for a reader in a hurry, then each claim with its numbers.

GitHub's Markdown, without raw HTML.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from infwidth.claims.claims import Judged, JudgedClaims
from infwidth.claims.schema import short
from infwidth.claims.words import (
    SOURCES,
    amount,
    decimals_of,
    decisive_number,
    ends,
    is_signed,
    is_unbounded,
    rule,
    scope,
)
from infwidth.drawing.table import MISSING, p_value
from infwidth.stats.verdicts import Verdict

PAGE = "claims.md"

MARKS = {
    Verdict.REPRODUCED: "✓",
    Verdict.YES: "✓",
    Verdict.CONTRADICTED: "✗",
    Verdict.NO: "✗",
    Verdict.INCONCLUSIVE: "○",
    Verdict.TOO_SMALL: "·",
    Verdict.NOT_MEASURED: "·",
}


@dataclass(frozen=True)
class Links:
    """Where figures, tables, measurements and rules lie, seen from the page's own folder."""

    figures: str
    tables: str
    measurements: Mapping[str, str]
    rules: str


def page(judged: JudgedClaims, links: Links) -> str:
    """The whole page."""
    parts = [
        "# What the runs say on each claim",
        _opening(judged, links),
        _overview(judged, links),
        "## Claim by claim",
        *(_details(each, judged, links) for each in judged.claims),
        _method(judged),
    ]
    return "\n\n".join(parts) + "\n"


def heading(judged: Judged) -> str:
    """The heading of a claim's own part."""
    return f"{judged.label}. {judged.claim.statement.removesuffix('.')}"


def anchor(text: str) -> str:
    """What GitHub makes of a heading: lower case, hyphens for spaces, other signs left out."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def escaped(text: str) -> str:
    """Plain text with what Markdown would take for its own escaped, `code` excepted."""
    pieces = text.split("`")
    pieces[::2] = [re.sub(r"([*_|<>\[\]])", r"\\\1", piece) for piece in pieces[::2]]
    return "`".join(pieces)


def _opening(judged: JudgedClaims, links: Links) -> str:
    count = Counter(each.fixed for each in judged.claims)
    before = count["before"] + count["fresh_seeds"]
    corpora = "".join(f" Corpus: {escaped(corpus)}." for corpus in judged.corpora)
    return f"""- What the paper claims of its experiment: {_counted(judged.counts("experiment"))}.
- What its theory says, some of which holds by construction: {_counted(judged.counts("theory"))}.
- What it leaves open, and what this project adds: {_counted(judged.counts("question"))}.

Each verdict follows from a rule in [`config/claims.yaml`]({links.rules}), never from a look at
the numbers: {before} of the {len(judged.claims)} rules stood before the runs that they judge
({count["fresh_seeds"]} of them when runs on other seeds had been seen), and each of the others says
that it did not. A contradicted claim is a finding, not a failure.

ADAM\\*'s formula is **our reconstruction** (B): what is said on it here is said of that, at the
scale of these runs, and not of the paper's own.{corpora}
Configuration: `{judged.configuration}`."""


def _counted(counts: dict[Verdict, int]) -> str:
    return ", ".join(f"**{count} {word}**" for word, count in counts.items()) or "nothing"


def _overview(judged: JudgedClaims, links: Links) -> str:
    rows = [("no.", "claim or question", "verdict", "the number that decides", "see")]
    rows += [
        (
            f"[{each.label}](#{anchor(heading(each))})",
            escaped(each.claim.statement),
            f"{MARKS[each.verdict]} **{each.verdict}**".replace(" ", "\u00a0"),
            escaped(decisive_number(each)),
            ", ".join(_evidence(each, links)) or MISSING,
        )
        for each in judged.claims
    ]
    return (
        _table(rows)
        + f"\n\n± is the half width of the {judged.confidence:.0%} interval; ends in brackets "
        "are given where it is not symmetric. The deciding number is that of the place where a "
        "claim that must hold everywhere is weakest, or where the case against it is strongest."
    )


def _details(each: Judged, judged: JudgedClaims, links: Links) -> str:
    said = [f"### {escaped(heading(each))}", _verdict_line(each, links)]
    if each.note:
        said.append(f"> {escaped(each.note)}")
    if each.places:
        said.append(_places(each, judged.confidence))
    said.append("\n".join(f"- **{name}.** {text}" for name, text in _remarks(each, judged)))
    return "\n\n".join(said)


def _verdict_line(each: Judged, links: Links) -> str:
    parts = [f"{MARKS[each.verdict]} **{each.verdict}**", SOURCES[each.claim.source]]
    if version := each.claim.abstract:
        parts.append("of both abstracts" if version == "both" else f"of the abstract of {version}")
    parts += _evidence(each, links)
    if each.measurements:
        where = links.measurements[each.claim.experiment]
        commit = each.measurements["commit"]
        at = commit[:10] + ("-dirty" if commit.endswith("-dirty") else "")
        parts.append(f"[measurements]({where}) of `{each.claim.experiment}` at `{at}`")
    parts.append(f"[rule]({links.rules}#L{each.line}) `{each.claim.id}`")
    return " · ".join(parts)


def _evidence(each: Judged, links: Links) -> list[str]:
    """Links to the figure and the table that show a claim."""
    space = "\u00a0"  # The name stays on one line.
    pictures = (
        (each.claim.figure, links.figures, "png"),
        (each.claim.table, links.tables, "md"),
    )
    return [
        f"[{short(name, space)}]({folder}/{name}.{ending})"
        for name, folder, ending in pictures
        if name and each.measurements
    ]


def _places(each: Judged, confidence: float) -> str:
    unit = [each.claim.unit] if each.claim.unit else []
    decimals, sign = decimals_of(each.places), is_signed(each)
    if all(place.exact for place in each.places):
        head = ("place", ", ".join(["counted", *unit]))
        counted = [(_name(each, k), amount(p, decimals, sign)) for k, p in enumerate(each.places)]
        return _table([head, *counted])
    documents = any(place.documents_upper > place.documents_lower for place in each.places)
    tested_on = f"over test {'images' if 'nats per image' in unit else 'documents'}"
    heads = (
        *("place", ", ".join(["effect", *unit]), f"{confidence:.0%} interval"),
        *([tested_on] if documents else []),
        *("repeats", "p, the rule holds", "p, the opposite"),
    )
    blank = [""] * (len(heads) - 3)
    rows: list[tuple[str, ...]] = []
    for k, place in enumerate(each.places):
        of_documents = ends(place.documents_lower, place.documents_upper, decimals)
        lost = f", {place.lost} lost" if place.lost else ""
        p_values = (place.p_holds, place.p_opposite) if k in each.judged else (math.nan, math.nan)
        rows.append(
            (
                _name(each, k),
                amount(place, decimals, sign),
                "unbounded" if is_unbounded(place) else ends(place.lower, place.upper, decimals),
                *([of_documents] if documents else []),
                f"{place.repeats:,}{lost}",
                *map(p_value, p_values),
            )
        )
    over = [("*together*", each.p_holds, each.p_opposite)] if len(each.judged) > 1 else []
    over.append(("*after Holm*", each.holm_holds, each.holm_opposite))
    rows += [(name, *blank, p_value(holds), p_value(other)) for name, holds, other in over]
    return _table([heads, *rows])


def _name(each: Judged, k: int) -> str:
    """A place's name; in bold where it decides."""
    where = escaped(each.places[k].where)
    return f"**{where}**" if k == each.decisive else where


def _remarks(each: Judged, judged: JudgedClaims) -> Iterable[tuple[str, str]]:
    claim = each.claim
    unit = f", in {claim.unit}" if claim.unit else ""
    interval = f" Interval: {escaped(claim.interval)}." if claim.interval else ""
    yield "Effect", f"{escaped(claim.quantity + unit)}.{interval}"
    words = ("yes", "no") if claim.is_question else ("reproduced", "contradicted")
    bounds = claim.rule.model_dump(exclude={"kind"}).values()
    references = [f" (`{bound}`)" for bound in bounds if isinstance(bound, str)]
    family = judged.families[claim.family]
    level = f"Level {each.level:.2g} over the {family['claims']} rows of the family."
    yield (
        "Rule",
        f"*{words[0]}* if it is {rule(each)}{''.join(references)} {escaped(scope(each))}; "
        f"*{words[1]}* if {_opposite(each)}. {level if claim.interval else 'Nothing is uncertain.'}"
        f" {_FIXED[each.fixed]}",
    )
    yield "Why this rule", escaped(claim.reason.strip())
    if each.undecided:
        yield "What would decide it", escaped(claim.would_decide.strip())
    if claim.check:
        yield "Check it yourself", escaped(claim.check.strip())


_FIXED = {
    "before": "It stood before the runs that it judges.",
    "fresh_seeds": "It was written down after runs on other seeds had been seen, and stood before "
    "these.",
    "after": "It was written down after a first complete run had been seen.",
}


def _opposite(each: Judged) -> str:
    kind = each.claim.rule.kind
    other = {"greater": "it is less", "less": "it is greater", "equivalent": "it is further off"}
    if each.claim.scope == "some_place":
        return f"{other[kind]} at every place"
    if each.claim.scope == "last_place":
        return f"{other[kind]} there"
    return f"{other[kind]} at one of them"


def _method(judged: JudgedClaims) -> str:
    families = "\n".join(
        f"- `{name}`: {escaped(family['about'])}; {family['claims']} rows, level "
        f"{family['level']:.2g}."
        for name, family in judged.families.items()
    )
    return f"""## How verdicts are made

A rule has a direction or a margin, a scope and a level, and gives two p values: that its statement
holds, and that the opposite does. One below the level, after Holm's correction within the family,
gives the verdict; if neither is, the claim is *inconclusive*. Each of the two words has the level
for itself.

- *Greater, less*: t tests, two-sided, so that test and interval agree.
- *Within a margin*: two one-sided t tests (TOST), which at level 0.05 ask that the 90% interval lie
  inside. Not to have found a difference shows nothing.
- *At every place*: an intersection-union test: the largest p value counts. The opposite needs one
  place, after Holm over the places. *At one place at least* is the mirror image.
- Repeats are seeds or inits. What they are tested on is fixed, the documents of the test split or
  its images; where an interval over those is shown, no test is made of it.
- Holm corrects within a family; over the {len(judged.families)} families nothing is corrected.
- A run that diverged or is missing forbids the test at its place. A single repeat gives no test,
  and neither do repeats that are all equal. A number that was counted or computed without any
  error needs no test: p is 0 or 1.
- *too small to judge*: the configuration is one to try the workflow with. *not measured*: the
  configuration lacks what the claim needs; such a row counts in its family all the same.

Families:

{families}"""


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    head, *body = rows
    lines = [f"| {' | '.join(head)} |", "|" + "|".join(["---"] * len(head)) + "|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in body])
