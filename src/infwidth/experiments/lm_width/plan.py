# SPDX-License-Identifier: Apache-2.0
"""The parts of the paper's experiment: a variant at a width (without JAX)."""

from pydantic import ValidationError

from infwidth.config.errors import UserError
from infwidth.config.settings import Settings, TrainingSettings
from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.places import has_mlps
from infwidth.experiments.study import Part, arms, at_length


def parts(settings: Settings) -> list[Part]:
    """Every variant at every width, tuned there by itself.

    The first seeds run at the rate of the reference width, too.

    Raises:
      UserError: the steps of the search do not go with the other settings.
    """
    own, training = settings.lm_width, settings.training
    search = training
    if own.search_steps < training.steps:
        changed = training.model_dump() | at_length(own.search_steps, training)
        try:
            search = TrainingSettings.model_validate(changed)
        except ValidationError as error:
            mistake = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise UserError(f"configuration: lm_width.search_steps: {mistake}") from None
    planned = []
    for variant, width in arms(own.variants, sorted(own.widths)):
        tuned = has_mlps(ALL_VARIANTS[variant])
        planned.append(
            Part(
                name=part_name(variant, width),
                condition="lm_width",
                variant=variant,
                width=width,
                vocabulary=settings.data.vocabulary,
                model=settings.model,
                training=training,
                search=search if tuned else training,
                tuning=own.tuning,
                seeds=own.seeds,
                reports=[("report", width)],
                reference=part_name(variant, own.reference_width) if tuned else "",
                one_rate_seeds=tuple(own.seeds[: own.one_rate_seeds] if tuned else ()),
                rates="lm_width.tuning.learning_rates",
            )
        )
    return planned


def part_name(variant: str, width: int) -> str:
    """The name of a variant's part at a width, 0 where there are no MLPs."""
    return f"{variant}-{width}"
