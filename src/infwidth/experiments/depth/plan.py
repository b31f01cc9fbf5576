# SPDX-License-Identifier: Apache-2.0
"""The paper's depth and steps: one condition, a part a variant and width (without JAX)."""

from infwidth.config.settings import Settings
from infwidth.experiments.study import Condition, arms, at_length


def conditions(settings: Settings) -> list[Condition]:
    """A condition a width, in the order of the settings; the check of the trunk's rate first."""
    own = settings.depth
    trunk = ["constant"] if "constant" in own.variants else []
    others = [name for name in own.variants if name != "constant"]
    places = [(trunk, 0), *((others, width) for width in own.widths)]
    return [
        Condition(
            f"width_{width}" if width else "trunk",
            f"H = {width:,}" if width else "no MLPs",
            arms(variants, [width]),
            own.seeds if width else [],
            own.tuning,
            {"width": width, "layers": own.layers, "steps": own.steps},
            settings.data.vocabulary,
            model={"layers": own.layers},
            training=at_length(own.steps, settings.training),
            search=at_length(own.tuning_steps, settings.training),
        )
        for variants, width in places
        if variants
    ]
