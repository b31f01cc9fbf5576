# SPDX-License-Identifier: Apache-2.0
"""The base of every group of settings, and the types that they share."""

from collections.abc import Collection
from operator import attrgetter
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from infwidth.config.variants import VARIANTS

Width = Annotated[int, Field(ge=1)]
# JAX's generator takes a seed modulo 2³²: beyond, two seeds would be one.
Seed = Annotated[int, Field(ge=0, lt=2**32)]
LearningRate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A group of settings; unknown keys are errors, values cannot change once read."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _null_may_arrive_as_text(cls, values: Any) -> Any:
        # `snakemake --config 'model={feature_bias: null}'` hands nested values on as strings.
        if isinstance(values, dict):
            return {k: None if v in ("null", "None", "~") else v for k, v in values.items()}
        return values

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_not_one(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        values = value if isinstance(value, list) else [value]
        if cls.model_fields[info.field_name].annotation is not bool:
            for item in values:
                if isinstance(item, bool):
                    raise ValueError(f"{str(item).lower()} is not a value here")
        return value


def each_once(*fields: str) -> Any:
    """A validator for lists in which a value may stand only once."""

    def check(values: list) -> list:
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} is given twice; give each value once")
        return values

    return field_validator(*fields)(check)


def known_variants(*fields: str) -> Any:
    """A validator for lists of rows of the table of the paper's variants."""
    return variants_known_in(VARIANTS, *fields)


def variants_known_in(table: Collection[str], *fields: str) -> Any:
    """A validator for lists of rows of a table of variants."""

    def check(values: list[str]) -> list[str]:
        for value in values:
            if value not in table:
                raise ValueError(f"unknown variant {value!r}; known: {', '.join(table)}")
        return values

    return field_validator(*fields)(check)


def seeds_apart(*names: str, tuning: str = "tuning.seeds") -> Any:
    """A validator for a section whose `names`, lists of seeds, are to have none of `tuning`."""

    def check(section: Any) -> Any:
        for name in names:
            shared = sorted(set(getattr(section, name)) & set(attrgetter(tuning)(section)))
            if shared:
                raise ValueError(
                    f"seed {shared[0]} is in {name} and in {tuning}; reported runs need others"
                )
        return section

    return model_validator(mode="after")(check)


def whole_chunks() -> Any:
    """A validator for a section of training: whole chunks, and a peak that is reached."""

    def check(section: Any) -> Any:
        for name in ("steps", "checkpoint_every"):
            if getattr(section, name) % section.log_every:
                raise ValueError(f"{name} must be a multiple of log_every ({section.log_every})")
        if section.warmup_steps >= section.steps:
            raise ValueError(f"warmup_steps must be below steps ({section.steps})")
        return section

    return model_validator(mode="after")(check)
