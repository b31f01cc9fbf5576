# SPDX-License-Identifier: Apache-2.0
"""The plan of the readings: 16 cells of seven two-level factors, and a centre (without JAX).

The cells are the 2^(7−3) plan of resolution IV (Box and Hunter, 1961): the first four factors take
every combination, and with levels ±1 the others are the products E = ABC, F = BCD, G = ACD. No main
effect is confounded with another, or with an interaction of two.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any, get_args

from infwidth.config.settings import Settings
from infwidth.experiments.readings.settings import Factor
from infwidth.experiments.study import Condition, arms, at_length

FACTORS: tuple[str, ...] = get_args(Factor)
CENTRE = "centre"


def design() -> list[dict[str, int]]:
    """The cells: by factor −1 or +1."""
    cells = []
    for a, b, c, d in itertools.product((-1, 1), repeat=4):
        levels = (a, b, c, d, a * b * c, b * c * d, a * c * d)
        cells.append(dict(zip(FACTORS, levels, strict=True)))
    return cells


def has_unfrozen(cell: Mapping[str, int]) -> bool:
    """Whether `unfrozen` runs in a cell: in four, in which each factor is twice at each level."""
    return cell["layers"] == cell["steps"] and cell["readout_init"] == cell["vocabulary"]


def values_of(settings: Settings) -> dict[str, tuple[Any, Any, Any]]:
    """By factor its value at the levels −1, 0 and +1; None at 0: it has none, and is as configured.

    1 − β2 of the centre is the geometric mean of the others'.
    """
    low, centre, high = settings.readings.steps
    return {
        "steps": (low, centre, high),
        "vocabulary": ("bytes", None, "sentencepiece"),
        "layers": (2, 3, 4),
        "readout_init": ("zeros", None, "normal"),
        "activation": ("relu", None, "gelu"),
        "b2": (0.98, round(1 - math.sqrt(0.02 * 0.001), 4), 0.999),
        "trunk_optimizer": ("adam", None, "sgd"),
    }


def conditions(settings: Settings) -> list[Condition]:
    """The cells and the centre, short runs first; of fewer factors the cells that are left."""
    own = settings.readings
    values = values_of(settings)
    cells: dict[tuple[int, ...], bool] = {}
    for cell in design():
        levels = tuple(cell[name] for name in own.factors)
        cells[levels] = cells.get(levels, False) or has_unfrozen(cell)
    if any(values[name][1] is not None for name in own.factors):
        cells[(0,) * len(own.factors)] = False
    planned = [
        _condition(settings, dict(zip(own.factors, levels, strict=True)), values, full)
        for levels, full in cells.items()
    ]
    return sorted(planned, key=lambda condition: condition.training.get("steps", 0))


def _condition(
    settings: Settings,
    levels: dict[str, int],
    values: Mapping[str, tuple[Any, Any, Any]],
    full: bool,
) -> Condition:
    own = settings.readings
    every = {name: values[name][1 + level] for name, level in levels.items()}
    chosen = {name: value for name, value in every.items() if value is not None}
    high = "".join(chr(ord("a") + FACTORS.index(name)) for name in levels if levels[name] > 0)
    training: dict[str, Any] = {n: chosen[n] for n in ("b2", "trunk_optimizer") if n in chosen}
    if training.get("trunk_optimizer") == "sgd":
        training["trunk_learning_rate"] = own.sgd_trunk_learning_rate
    if "steps" in chosen:
        training |= at_length(chosen["steps"], settings.training)
    is_centre = not any(levels.values())
    return Condition(
        CENTRE if is_centre else f"cell_{high or 0}",
        CENTRE if is_centre else ", ".join(map(_words, chosen.items())),
        arms([name for name in own.variants if full or name != "unfrozen"], [own.width]),
        own.seeds,
        own.tuning,
        levels,
        chosen.get("vocabulary", settings.data.vocabulary),
        model={n: chosen[n] for n in ("layers", "readout_init", "activation") if n in chosen},
        training=training,
    )


_WORDS = {
    "steps": "{:,} steps",
    "vocabulary": "{}",
    "layers": "{} layers",
    "readout_init": "readout {}",
    "activation": "{}",
    "b2": "β2 {}",
    "trunk_optimizer": "trunk {}",
}


def _words(choice: tuple[str, Any]) -> str:
    """A choice in words, such as "1,500 steps"."""
    name, value = choice
    return _WORDS[name].format({"sentencepiece": "subwords"}.get(value, value))
