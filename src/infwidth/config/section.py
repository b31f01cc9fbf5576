"""The base of every group of settings, and the types that they share."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

Width = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
LearningRate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A group of settings; unknown keys are errors, values cannot change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _null_may_arrive_as_text(cls, values: Any) -> Any:
        # `snakemake --config 'model={feature_bias: null}'` hands nested values on as strings.
        if isinstance(values, dict):
            return {k: None if v in ("null", "None", "~") else v for k, v in values.items()}
        return values
