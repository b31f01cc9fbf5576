# SPDX-License-Identifier: Apache-2.0
"""What the ladder says on the claims, rung by rung.

Legend: S seeds.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from infwidth.analysis.effects import Effect
from infwidth.analysis.extrapolation import Extrapolation, extrapolate
from infwidth.config.variants import ALL_VARIANTS
from infwidth.experiments.measured import Study

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
    - `test_minus_train`: of each variant, by rung.
    - `predicted_minus_measured`: what is extrapolated from the rungs before the last, less what was
      measured there, of ADAM* and of the NTK less frozen features.
    """
    places = _places(measured)
    last = last_rungs(measured).values()
    found = measured.contrasts(places)
    at_last = {where: place for where, place in places.items() if place[0] in last}
    found |= {f"{name}_at_last": some for name, some in measured.contrasts(at_last).items()}
    enough = {w: place for w, place in places.items() if steps_of(measured, place[0]) >= FROM}
    found["ntk_minus_frozen_from_1500"] = measured.contrasts(enough)["ntk_minus_frozen"]
    found["adam_star_minus_frozen_since_1500"] = _since(measured)
    found["test_minus_train"] = [
        _test_minus_train(measured, condition, variant, width)
        for condition in measured.conditions
        for variant, width in measured.conditions[condition]["arms"]
        if width
    ]
    found["predicted_minus_measured"] = [effect for _, effect in predictions(measured)]
    return found


def steps_of(measured: Study, condition: str) -> int:
    """The steps of a rung."""
    return int(measured.conditions[condition]["factors"]["steps"])


def rungs_of(measured: Study, vocabulary: str) -> list[str]:
    """The rungs of a vocabulary, ascending."""
    some = [
        name
        for name, condition in measured.conditions.items()
        if condition["factors"]["vocabulary"] == vocabulary
    ]
    return sorted(some, key=lambda name: steps_of(measured, name))


def last_rungs(measured: Study) -> dict[str, str]:
    """By vocabulary, its longest rung."""
    present = dict.fromkeys(c["factors"]["vocabulary"] for c in measured.conditions.values())
    return {vocabulary: rungs_of(measured, vocabulary)[-1] for vocabulary in present}


def width_of(measured: Study) -> int:
    """The one width of all rungs."""
    return int(measured.settings["ladder"]["width"])


def extrapolation(measured: Study, vocabulary: str, variant: str) -> Extrapolation:
    """A variant less frozen features over the rungs before the last, by every model."""
    *rungs, last = rungs_of(measured, vocabulary)
    if not rungs:
        return Extrapolation([], np.empty((0, 0)), 0, [])
    seeds = sorted(measured.conditions[last]["seeds"])
    values_SxT = np.full((len(seeds), len(rungs)), np.nan)
    for t, rung in enumerate(rungs):
        pair = [measured.losses(rung, v, width_of(measured)) for v in (variant, "frozen")]
        for s, seed in enumerate(seeds):
            if all(seed in losses for losses in pair):
                values_SxT[s, t] = pair[0][seed] - pair[1][seed]
    steps = [steps_of(measured, rung) for rung in rungs]
    return extrapolate(steps, values_SxT, measured.settings["ladder"]["exponents"])


def _places(measured: Study) -> dict[str, tuple[str, int]]:
    return {
        condition["label"]: (name, width_of(measured))
        for name, condition in measured.conditions.items()
    }


def _since(measured: Study) -> list[Effect]:
    width = width_of(measured)
    found = []
    for vocabulary, last in last_rungs(measured).items():
        first = [r for r in rungs_of(measured, vocabulary) if steps_of(measured, r) == FROM]
        if first and first[0] != last and measured.ran(last, ("adam_star", "frozen"), width):
            where = measured.conditions[last]["label"] + f" against {FROM:,}"
            weights = {(last, "adam_star", width): 1, (last, "frozen", width): -1}
            weights |= {(first[0], "adam_star", width): -1, (first[0], "frozen", width): 1}
            found.append(measured.contrast(where, weights))
    return found


def _test_minus_train(measured: Study, condition: str, variant: str, width: int) -> Effect:
    label = measured.conditions[condition]["label"]
    where = f"{label}, {ALL_VARIANTS[variant].label}"
    test, train = (measured.losses(condition, variant, width, s) for s in ("test", "train"))
    lost = len(measured.conditions[condition]["seeds"]) - len(test)
    return Effect.of_repeats(where, [test[seed] - train[seed] for seed in test], lost)


def predictions(measured: Study) -> list[tuple[str, Effect]]:
    """By variant, what is predicted of a longest rung less what was measured there."""
    width = width_of(measured)
    found: list[tuple[str, Effect]] = []
    for vocabulary, last in last_rungs(measured).items():
        for variant in PREDICTED:
            where = f"{measured.conditions[last]['label']}, {ALL_VARIANTS[variant].label}"
            pair = {(last, variant, width): 1.0, (last, "frozen", width): -1.0}
            if not measured.ran(last, (variant, "frozen"), width):
                continue
            there = measured.contrast(where, pair)
            limit = extrapolation(measured, vocabulary, variant)
            if limit.fits and not there.lost and not limit.lost:
                losses = [measured.losses(*cell) for cell in pair]
                measured_S = np.array([losses[0][s] - losses[1][s] for s in sorted(losses[0])])
                effect = at_last(limit, steps_of(measured, last), measured_S, where)
                found.append((variant, effect))
    return found


def at_last(limit: Extrapolation, steps: int, less_S: ArrayLike = 0.0, where: str = "") -> Effect:
    """What is extrapolated to a rung, by every model; what is said holds for all of them.

    Args:
        limit: of the rungs before it.
        steps: of the rung.
        less_S: what is subtracted, by seed.
        where: the place.
    """
    readings = {
        fit.model: Effect.of_repeats(
            where, fit.coefficients_SxK @ fit.model.design([steps])[0] - less_S
        )
        for fit in limit.fits
    }
    return replace(readings[limit.best.model], readings=tuple(readings.values()))
