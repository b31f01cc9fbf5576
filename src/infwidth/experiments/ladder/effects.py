# SPDX-License-Identifier: Apache-2.0
"""What the ladder says on the claims, rung by rung.

Legend: S seeds, T rungs.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.measured import Study
from infwidth.stats.effects import Effect
from infwidth.stats.extrapolation import Extrapolation, extrapolate

FROM = 1500
"""Steps of the default: the claims were first judged at these."""

PREDICTED = ("adam_star", "ntk")
"""What is extrapolated: the loss of these, less that of frozen features."""


def effects(measured: Study) -> dict[str, list[Effect]]:
    """Contrasts of test losses, in nats per token.

    - Each of `infwidth.experiments.measured.CONTRASTS`, and `gap_closed`: by rung, and with the
      ending `_at_last` at the longest rung of each vocabulary.
    - `ntk_minus_frozen_from_1500`: at the rungs of so many steps and more.
    - `adam_star_minus_frozen_since_1500`: at the longest rung less at that of 1,500 steps.
    - `predicted_minus_measured`: what is extrapolated from the rungs before the last, less what was
      measured there, of ADAM* and of the NTK less frozen features.
    """
    width, conditions = width_of(measured), measured.conditions
    places = {each["label"]: (name, width) for name, each in conditions.items()}
    last = [rungs_of(measured, vocabulary)[-1] for vocabulary in vocabularies(measured)]
    at_last = {where: place for where, place in places.items() if place[0] in last}
    late = {w: place for w, place in places.items() if steps_of(measured, place[0]) >= FROM}
    found = measured.contrasts(places)
    found |= {f"{name}_at_last": some for name, some in measured.contrasts(at_last).items()}
    found["ntk_minus_frozen_from_1500"] = measured.contrasts(late)["ntk_minus_frozen"]
    found["adam_star_minus_frozen_since_1500"] = _since(measured)
    found["predicted_minus_measured"] = [effect for _, effect in predictions(measured)]
    return found


def steps_of(measured: Study, condition: str) -> int:
    """The steps of a rung."""
    return int(measured.conditions[condition]["factors"]["steps"])


def vocabularies(measured: Study) -> list[str]:
    """Those that have a ladder, in their order."""
    every = (each["factors"]["vocabulary"] for each in measured.conditions.values())
    return list(dict.fromkeys(every))


def rungs_of(measured: Study, vocabulary: str) -> list[str]:
    """The rungs of a vocabulary, ascending."""
    conditions = measured.conditions
    some = [n for n in conditions if conditions[n]["factors"]["vocabulary"] == vocabulary]
    return sorted(some, key=lambda name: steps_of(measured, name))


def width_of(measured: Study) -> int:
    """The one width of all rungs."""
    return int(measured.settings["ladder"]["width"])


def extrapolation(measured: Study, vocabulary: str, variant: str) -> Extrapolation:
    """A variant less frozen features over the rungs before the last, by every model."""
    *rungs, last = rungs_of(measured, vocabulary)
    if not rungs:
        return Extrapolation([], np.empty((0, 0)), 0, [])
    above = {rung: _above_frozen(measured, rung, variant) for rung in rungs}
    values = pd.DataFrame(above).reindex(sorted(measured.conditions[last]["seeds"]))
    steps = [steps_of(measured, rung) for rung in rungs]
    return extrapolate(steps, values, measured.settings["ladder"]["exponents"])


def predictions(measured: Study) -> list[tuple[str, Effect]]:
    """By variant, what is predicted of a longest rung less what was measured there."""
    found = []
    for vocabulary in vocabularies(measured):
        last = rungs_of(measured, vocabulary)[-1]
        for variant in PREDICTED:
            where = f"{measured.conditions[last]['label']}, {ALL_VARIANTS[variant].label}"
            seeds = sorted(measured.conditions[last]["seeds"])
            above_S = _above_frozen(measured, last, variant).reindex(seeds).to_numpy()
            limit = extrapolation(measured, vocabulary, variant)
            # What a lost seed says of the other rungs is not used in part.
            if limit.fits and not limit.lost and np.isfinite(above_S).all():
                effect = at_last(limit, steps_of(measured, last), above_S, where)
                found.append((variant, effect))
    return found


def at_last(limit: Extrapolation, steps: int, less_S: ArrayLike = 0.0, where: str = "") -> Effect:
    """What is extrapolated to a rung, less something by seed; by every model, for all of them."""
    readings = {
        fit.model: Effect.of_repeats(
            where, fit.coefficients_SxK @ fit.model.design([steps])[0] - less_S
        )
        for fit in limit.fits
    }
    return replace(readings[limit.best.model], readings=tuple(readings.values()))


def _above_frozen(measured: Study, rung: str, variant: str) -> pd.Series:
    """A variant's loss less that of frozen features, by seed."""
    width = width_of(measured)
    own, frozen = (
        pd.Series(measured.losses(rung, name, width), dtype=float) for name in (variant, "frozen")
    )
    return own - frozen


def _since(measured: Study) -> list[Effect]:
    width = width_of(measured)
    found = []
    for vocabulary in vocabularies(measured):
        *rungs, last = rungs_of(measured, vocabulary)
        first = [rung for rung in rungs if steps_of(measured, rung) == FROM]
        if first and measured.ran(last, ("adam_star", "frozen"), width):
            where = measured.conditions[last]["label"] + f" against {FROM:,}"
            weights = {(last, "adam_star", width): 1, (last, "frozen", width): -1}
            weights |= {(first[0], "adam_star", width): -1, (first[0], "frozen", width): 1}
            found.append(measured.contrast(where, weights))
    return found
