# SPDX-License-Identifier: Apache-2.0
"""Measured scales over widths, then their controls, one change each (without JAX)."""

from collections.abc import Iterator, Mapping
from typing import Any

from infwidth.config.settings import Settings
from infwidth.experiments.study import Condition, arms

PLAIN, WIDE, OTHER = "widths", "wide", "other_vocabulary"


def conditions(settings: Settings) -> list[Condition]:
    """The widths, the controls, the other vocabulary, and the widest."""
    own = settings.scales
    vocabulary = settings.data.vocabulary
    other = {"bytes": "sentencepiece", "sentencepiece": "bytes"}[vocabulary]

    def condition(name: str, label: str, parts: list[tuple[str, int]], **more: Any) -> Condition:
        given = {"seeds": own.control_seeds, "vocabulary": vocabulary, "factors": {}} | more
        return Condition(name, label, parts, tuning=own.tuning, **given)

    found = [condition(PLAIN, "as in fig. 1", arms(own.variants, own.widths), seeds=own.seeds)]
    found += [
        condition(
            name,
            label,
            arms(own.controls, own.control_widths),
            factors=change,
            training={"scales": change},
        )
        for name, label, change in _controls(settings)
    ]
    if own.other_vocabulary:
        parts = arms(own.variants, own.control_widths)
        found.append(condition(OTHER, "the other vocabulary", parts, vocabulary=other))
    if own.wide_widths:
        parts = arms(own.wide_variants, own.wide_widths)
        found.append(condition(WIDE, "wide", parts, seeds=own.seeds))
    return found


def _controls(settings: Settings) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Name, label, and what is changed in the settings of the scales."""
    own = settings.scales
    if own.permuted:
        yield "permuted", "permuted", {"permuted": True}
    if own.stream:
        yield "stream", "another stream of data", {"stream": "other"}
    if own.activation:
        yield "activation", "from activations", {"source": "activation"}
    for hold in own.holds:
        if hold is None:
            yield "never_held", "never held", {"hold_after": None}
        else:
            yield f"held_{hold}", f"held at {hold:,}", {"hold_after": hold}
    for power in own.powers:
        yield f"power_{_file(power)}", f"power {power:g}", {"power": power}
    for floor in own.floors:
        yield f"floor_{_file(floor)}", f"floor {floor:g}", {"floor": floor}


def _file(number: float) -> str:
    """A number as in names of files."""
    return f"{number:g}".replace(".", "p").replace("-", "m").replace("+", "")
