# SPDX-License-Identifier: Apache-2.0
"""Claims as they were judged: what claims.json holds, and the page and the table are made from."""

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from infwidth.claims.schema import Claim, Fixed, Part
from infwidth.config.errors import UserError
from infwidth.stats.verdicts import Verdict
from infwidth.stored import read_record, require

FILE = "claims.json"
UNDECIDED = (Verdict.INCONCLUSIVE, Verdict.TOO_SMALL, Verdict.NOT_MEASURED)
_NUMBERS = (
    *("estimate", "lower", "upper", "documents_lower", "documents_upper"),
    *("p_holds", "p_opposite", "holm_holds", "holm_opposite"),
)
_KEYS = ("configuration", "confidence", "families", "claims")


@dataclass(frozen=True)
class Place:
    """The effect at one place, such as "H = 256", and what it says on the claim there alone.

    Of the intervals, over repeats and over test documents, the ends are NaN where there is none.
    The degrees of freedom are None where the interval is a normal one, or the number is exact.
    """

    where: str
    estimate: float
    lower: float
    upper: float
    documents_lower: float
    documents_upper: float
    repeats: int
    freedom: float | None
    lost: int
    exact: bool
    p_holds: float
    p_opposite: float


@dataclass(frozen=True)
class Judged:
    """One claim with its evidence and verdict.

    Attributes:
        label: its number, with a letter where that has several claims.
        line: of the claim in the file of the rules.
        bounds: by name (`than`, `to`, `within`), the rule's numbers.
        note: why there is no verdict, or what its numbers lack.
        fixed: as the claim's, but `after` where the seeds measured are not fresh.
        measurements: commit, configuration, corpus and digests of what was measured; None without.
        judged: indices of the places that the scope takes; `decisive` is that which decides.
        p_holds, p_opposite: evidence over the scope; `holm_...` after Holm within the family.
    """

    label: str
    claim: Claim
    line: int
    bounds: dict[str, float]
    level: float
    verdict: Verdict
    note: str
    fixed: Fixed
    measurements: dict[str, Any] | None = None
    places: list[Place] = field(default_factory=list)
    judged: list[int] = field(default_factory=list)
    decisive: int | None = None
    p_holds: float = math.nan
    p_opposite: float = math.nan
    holm_holds: float = math.nan
    holm_opposite: float = math.nan

    @property
    def undecided(self) -> bool:
        """Whether the rule gave no answer."""
        return self.verdict in UNDECIDED


@dataclass(frozen=True)
class JudgedClaims:
    """Every claim of one configuration, in the order of the rules.

    Of a family: `level`, `about`, and the number of `claims`.
    """

    configuration: str
    confidence: float
    families: dict[str, dict[str, Any]]
    claims: list[Judged]

    def counts(self, part: Part) -> dict[Verdict, int]:
        """How many rows of a part got each word, in the order of words."""
        found = Counter(each.verdict for each in self.claims if each.claim.part == part)
        return {word: found[word] for word in Verdict if found[word]}

    @property
    def corpora(self) -> list[str]:
        """Every corpus that was trained on."""
        records = (each.measurements or {} for each in self.claims)
        return sorted({record["corpus"] for record in records if record.get("corpus")})

    def provenance(self) -> dict[str, Any]:
        """What the claims were judged from: every file with its digest, and the commits."""
        found = {each.claim.experiment: each.measurements for each in self.claims}
        measured = {name: record for name, record in found.items() if record}
        return {
            "inputs": {
                f"{name}/{file}": digest
                for name, record in measured.items()
                for file, digest in record["inputs"].items()
            },
            "configuration": self.configuration,
            "commit": {name: record["commit"] for name, record in measured.items()},
        }

    def as_json(self) -> dict[str, Any]:
        """What claims.json holds."""
        claims = [asdict(each) | {"claim": each.claim.model_dump()} for each in self.claims]
        return {
            "configuration": self.configuration,
            "confidence": self.confidence,
            "families": self.families,
            "claims": claims,
        }


def load(folder: Path | str) -> JudgedClaims:
    """Reads and checks a folder's claims.json."""
    path = Path(folder) / FILE
    if not path.exists():
        raise UserError(f"{path} is missing: run `infwidth claims` first")
    content = read_record(path, _KEYS)
    try:
        claims = [_judged(row) for row in content["claims"]]
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise UserError(f"{path}: not what `infwidth claims` writes; write it anew") from error
    for name, family in content["families"].items():
        require(path, f"the family '{name}'", family, ("level", "about", "claims"))
    return JudgedClaims(
        content["configuration"], content["confidence"], content["families"], claims
    )


def _judged(row: dict[str, Any]) -> Judged:
    places = [Place(**_numbers(place)) for place in row["places"]]
    known = {"claim": Claim.model_validate(row["claim"]), "verdict": Verdict(row["verdict"])}
    return Judged(**_numbers(row) | known | {"places": places})


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: it was written as null."""
    return {k: math.nan if v is None and k in _NUMBERS else v for k, v in row.items()}
