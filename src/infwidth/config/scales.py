# SPDX-License-Identifier: Apache-2.0
"""Settings of measured scales: on what, for how long, and the controls."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from infwidth.config.section import Section


class MeasuredScalesSettings(Section):
    """The scale of each feature, in the variants whose features are `measured`.

    Feature ω is divided by s^p, s = max(r / mean r, floor), with r the mean over batches and
    outputs of the square of its functional gradient.
    """

    hold_after: Annotated[int, Field(ge=0)] | None = Field(
        0,
        description="0: r is measured before training, with M = 0; N: in the first N steps, then "
        "held; null: it never stops, and no kernel is fixed (a control).",
    )
    batches: Annotated[int, Field(ge=1)] = Field(
        50, description="Batches that r is measured on before training: the first of the run."
    )
    power: Annotated[float, Field(ge=0, le=1)] = Field(
        0.25, description="p; at 1/4 a step is divided by √s in all, as Adam's is."
    )
    floor: Annotated[float, Field(gt=0, le=1)] = Field(
        1e-6, description="The least s, which features have that are silent while r is measured."
    )
    source: Literal["gradient", "activation"] = Field(
        "gradient",
        description="`activation`: r is the mean square of the feature itself, whatever the errors "
        "(a control).",
    )
    permuted: bool = Field(
        False, description="Whether features have the scales of others, at random (a control)."
    )
    stream: Literal["own", "other"] = Field(
        "own",
        description="`other`: r is measured on the same features in a network and on batches of "
        "another seed (a control).",
    )

    @model_validator(mode="after")
    def _controls_are_measured_before_training(self) -> "MeasuredScalesSettings":
        for name in ("source", "permuted", "stream"):
            value = getattr(self, name)
            if self.hold_after != 0 and value != type(self).model_fields[name].default:
                raise ValueError(
                    f"{name} {value!r} is for scales measured before training: set hold_after to 0"
                )
        return self
