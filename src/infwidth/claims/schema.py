# SPDX-License-Identifier: Apache-2.0
"""The rules by which claims are judged: one row of config/claims.yaml is one decision rule."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from infwidth.catalogue import EXPERIMENTS, FIGURES, TABLES
from infwidth.config.errors import UserError, and_more
from infwidth.config.load import CLAIMS, read_yaml
from infwidth.config.settings import Settings

Reference = Literal[
    "statistics.equivalence_margin",
    "statistics.gap_fraction",
    "convergence.slope_margin",
    "feature_support.margin",
]
"""Settings that a rule may name in place of a number, so that the two cannot disagree."""

Bound = float | Reference
Level = Annotated[float, Field(gt=0, lt=1)] | Literal["1 - statistics.confidence"]
Fixed = Literal["before", "fresh_seeds", "after"]
Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
SeedSetting = Annotated[str, Field(pattern=r"^[a-z_]+(\.[a-z_]+)+$")]
Seen = Annotated[list[int], Field(min_length=1)]
Part = Literal["experiment", "theory", "question"]


class _Part(BaseModel):
    """A part of the file; unknown keys are errors, and a value is what it looks like."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Greater(_Part):
    """The effect is greater than a bound; its opposite, that it is less."""

    kind: Literal["greater"]
    than: Bound = Field(description="The bound: 0, or the least effect that matters.")


class Less(_Part):
    """The effect is less than a bound; its opposite, that it is greater."""

    kind: Literal["less"]
    than: Bound = Field(description="The bound.")


class Equivalent(_Part):
    """The effect is a value within a margin (TOST); its opposite, that it is further off."""

    kind: Literal["equivalent"]
    to: float = Field(0.0, description="The value.")
    within: Annotated[float, Field(gt=0)] | Reference = Field(
        description="The margin, in the unit of the effect: what counts as no difference."
    )


Rule = Annotated[Greater | Less | Equivalent, Field(discriminator="kind")]


class Family(_Part):
    """Claims that are judged together: Holm's correction runs over all of them."""

    level: Level = Field(description="Familywise level of each word.")
    about: Text = Field(description="Which claims belong to it, in a phrase.")


class Claim(_Part):
    """One claim or question, and the rule that decides it."""

    id: Name = Field(description="Its name.")
    number: Annotated[int, Field(ge=1)] = Field(description="Of the list of claims and questions.")
    source: Literal["paper", "open", "ours"] = Field(
        description="`paper`: the paper says so, and the verdict is reproduced or contradicted; "
        "`open`: the paper leaves it open; `ours`: it asks of what the project adds. The answer "
        "is then yes or no."
    )
    abstract: Literal["v1", "v2", "both"] | None = Field(
        None, description="Of which abstract of the paper it is; null where it is of neither."
    )
    theory: bool = Field(
        False,
        description="Whether it is of the paper's theory, not of its experiment: counted apart, so "
        "that what holds by construction does not flatter.",
    )
    statement: Text = Field(description="What would be true, as one sentence.")
    experiment: Name = Field(description="The experiment whose measurements decide.")
    effect: Name = Field(description="One of the names that the experiment's `effects` gives.")
    quantity: Text = Field(description="What the effect is, in words.")
    unit: str = Field("", description="Of effect, bound and margin; empty for a pure number.")
    interval: Text | None = Field(
        None, description="How the effect's interval is made; null for what is counted."
    )
    rule: Rule
    scope: (
        Literal["every_place", "some_place", "last_place"]
        | Annotated[list[Text], Field(min_length=1)]
    ) = Field(
        description="`every_place`: an intersection-union test over the effect's places; "
        "`some_place`: at one at least, by Holm; `last_place`: the last alone, such as the widest; "
        "a list: every one of these."
    )
    needs: list[Text] = Field(
        default_factory=list,
        description="What the statement speaks of, each a part of the name of some place of the "
        "effect; where one was not measured there is no test.",
    )
    family: Name = Field(description="The family within which Holm corrects.")
    fixed: Fixed = Field(
        description="Whether the rule stood before the runs that it judges were seen: `before` any "
        "run of the experiment; before those on `fresh_seeds`, when others had been seen; `after`."
    )
    seen: dict[SeedSetting, Seen] = Field(
        default_factory=dict,
        description="Of a row `fresh_seeds` that is later than the others of its experiment: seeds "
        "seen since, by the settings that fresh_seeds names.",
    )
    figure: str | None = Field(None, description="The figure that shows the effect.")
    table: str | None = Field(None, description="The table that holds it.")
    reason: Text = Field(description="Why this direction, this bound or margin, this scope.")
    would_decide: Text = Field(description="What would decide it, should these runs not.")
    check: Text | None = Field(None, description="What users can run to check it on their own.")

    @field_validator("figure", "table")
    @classmethod
    def _picture_exists(cls, name: str | None, info: ValidationInfo) -> str | None:
        known = FIGURES if info.field_name == "figure" else TABLES
        return None if name is None else _known(name, known, f"there is no {info.field_name}")

    @property
    def is_question(self) -> bool:
        """Whether the answer is yes or no."""
        return self.source != "paper"

    @property
    def part(self) -> Part:
        """Of the three tallies, the one in which it counts."""
        if self.is_question:
            return "question"
        return "theory" if self.theory else "experiment"


class Claims(_Part):
    """Every claim and question with its rule, in the order in which they are shown."""

    families: dict[Name, Family]
    fresh_seeds: dict[Name, Annotated[dict[SeedSetting, Seen], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="By experiment, the settings that hold the seeds of its runs, each with those "
        "on which runs had been seen when the rules so marked were written.",
    )
    claims: list[Claim] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_fit(self) -> "Claims":
        twice = [name for name, count in Counter(c.id for c in self.claims).items() if count > 1]
        if twice:
            raise ValueError(f"two claims are called {twice[0]!r}; give each a name of its own")
        for claim in self.claims:
            if claim.family not in self.families:
                known = ", ".join(self.families)
                raise ValueError(f"{claim.id}: no family {claim.family!r}; there are {known}")
            _known(claim.experiment, EXPERIMENTS, f"{claim.id}: there is no experiment")
            if claim.fixed == "fresh_seeds" and claim.experiment not in self.fresh_seeds:
                which = f"which seeds of {claim.experiment} had been seen"
                raise ValueError(f"{claim.id}: say in fresh_seeds {which}")
        for experiment, settings in self.fresh_seeds.items():
            _known(experiment, EXPERIMENTS, "fresh_seeds: there is no experiment")
            for setting in settings:
                section: Any = Settings
                what = f"fresh_seeds.{experiment}: {setting}: there is no setting"
                for name in setting.split("."):
                    fields = getattr(section, "model_fields", {})
                    _known(name, fields, what)
                    section = fields[name].annotation
        for claim in self.claims:
            for setting in claim.seen:
                named = self.fresh_seeds.get(claim.experiment, {})
                _known(setting, named, f"{claim.id}: seen: fresh_seeds has no setting")
        return self


def read_claims(path: Path = CLAIMS) -> Claims:
    """Reads and checks the rules; the first mistake is a line with its place."""
    content = read_yaml(path)
    try:
        return Claims.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {_describe(error, content)}") from None


def claims_schema() -> str:
    """The JSON Schema of config/claims.yaml."""
    schema = Claims.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def number_of(bound: float | str, settings: Settings) -> float:
    """A bound, margin or level as a number: what it refers to is read from the settings."""
    if not isinstance(bound, str):
        return bound
    if bound == "1 - statistics.confidence":
        # Rounded, or it would be 0.05 and a bit.
        return round(1 - settings.statistics.confidence, 12)
    section, name = bound.split(".")
    return float(getattr(getattr(settings, section), name))


def labels(rules: Claims) -> dict[str, str]:
    """By id, how a claim is called: its number, with a letter where it has several rows."""
    rows = Counter(claim.number for claim in rules.claims)
    seen: Counter[int] = Counter()
    found = {}
    for claim in rules.claims:
        letter = chr(ord("a") + seen[claim.number]) if rows[claim.number] > 1 else ""
        seen[claim.number] += 1
        found[claim.id] = f"{claim.number}{letter}"
    return found


def rule_of(claim: Claim, bounds: Mapping[str, float | str], unit: str = "") -> str:
    """The rule of a claim, by its numbers, or the names of settings that they are."""
    shown = {
        name: f"`{bound}`" if isinstance(bound, str) else f"{bound:g}".replace("-", "−")
        for name, bound in bounds.items()
    }
    if claim.rule.kind == "equivalent":
        return f"within ±{shown['within']}{unit} of {shown['to']}"
    return f"{claim.rule.kind} than {shown['than']}{unit}"


def short(name: str, space: str = " ") -> str:
    """`fig 1` of `fig1_loss_vs_width`."""
    return re.sub(r"^(fig|table)(\d+)_.*$", rf"\1{space}\2", name)


def stood_before(rules: Claims, claim: Claim, measured: Mapping[str, Any]) -> bool:
    """Whether nothing had been seen on the seeds with which a claim's experiment was measured."""
    for setting, seen in rules.fresh_seeds[claim.experiment].items():
        seeds: Any = measured
        for name in setting.split("."):
            seeds = seeds.get(name, {})
        seeds = seeds if isinstance(seeds, list) else [seeds]
        if {} in seeds or set(seeds) & {*seen, *claim.seen.get(setting, [])}:
            return False
    return True


def _known(name: str, names: Iterable[str], what: str) -> str:
    if name not in names:
        raise ValueError(f"{what} {name!r}; there are {', '.join(names) or 'none'}")
    return name


def _describe(error: ValidationError, content: dict[str, Any]) -> str:
    first = error.errors()[0]
    place = list(first["loc"])
    if place[:1] == ["claims"] and len(place) > 1:
        row = content["claims"][place[1]]
        name = row.get("id") if isinstance(row, dict) else None
        place[:2] = [f"claim {name or place[1]!r}"]
    if first["type"] == "value_error":
        text = str(first["ctx"]["error"])
    else:
        text = f"{first['msg']} (got {first['input']!r})"
    where = ".".join(map(str, place))
    return (f"{where}: " if where else "") + text + and_more(error.error_count())
