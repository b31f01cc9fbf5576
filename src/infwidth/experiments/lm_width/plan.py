# SPDX-License-Identifier: Apache-2.0
"""The parts of the paper's experiment: a variant at a width (without JAX)."""

from infwidth.config.settings import Settings
from infwidth.experiments.study import Condition, Part, arms, at_length, parts_in


def parts(settings: Settings) -> list[Part]:
    """Every variant at every width, tuned there by itself.

    The first seeds run at the rate of the reference width, too.

    Raises:
      UserError: the steps of the search do not go with the other settings.
    """
    own, training = settings.lm_width, settings.training
    is_shorter = own.search_steps < training.steps
    condition = Condition(
        name="lm_width",
        label="as in fig. 1",
        arms=arms(own.variants, sorted(own.widths)),
        seeds=own.seeds,
        tuning=own.tuning,
        factors={},
        vocabulary=settings.data.vocabulary,
        search=at_length(own.search_steps, training) if is_shorter else {},
    )
    planned = []
    for part in parts_in("lm_width", condition, settings):
        one_rate = {
            "reference": part_name(part.variant, own.reference_width),
            "one_rate_seeds": tuple(own.seeds[: own.one_rate_seeds]),
        }
        more = {"name": part_name(part.variant, part.width), "seeds": own.seeds}
        planned.append(part.model_copy(update=more | (one_rate if part.width else {})))
    return planned


def part_name(variant: str, width: int) -> str:
    """The name of a variant's part at a width, 0 where there are no MLPs."""
    return f"{variant}-{width}"
