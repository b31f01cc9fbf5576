# SPDX-License-Identifier: Apache-2.0
"""Optimizers that have no kernel form, under the names that optax gives them.

They are here so that whoever takes a rule from finite width to infinite width is told why that one
does not come along. All raise ValueError when called.
"""

from typing import Any, NoReturn


def scale_by_adam(*_: Any, **__: Any) -> NoReturn:
    """Refused: elementwise Adam divides each unit by a number of its own."""
    _refuse("scale_by_adam", "it divides every unit by a second moment of its own", _STAR)


def adam(*_: Any, **__: Any) -> NoReturn:
    """Refused as `scale_by_adam` is."""
    _refuse("adam", "it divides every unit by a second moment of its own", "use adam_star")


def adamw(*_: Any, **__: Any) -> NoReturn:
    """Refused as `scale_by_adam` is."""
    _refuse("adamw", "it divides every unit by a second moment of its own", "use adam_star")


def scale_by_rms(*_: Any, **__: Any) -> NoReturn:
    """Refused: RMSprop divides each unit by a number of its own."""
    better = "use scale_by_rms_star"
    _refuse("scale_by_rms", "it divides every unit by a second moment of its own", better)


def rmsprop(*_: Any, **__: Any) -> NoReturn:
    """Refused as `scale_by_rms` is."""
    _refuse("rmsprop", "it divides every unit by a second moment of its own", "use rmsprop_star")


def scale_by_rss(*_: Any, **__: Any) -> NoReturn:
    """Refused: Adagrad divides each unit by a number of its own."""
    better = "use scale_by_adagrad_star"
    _refuse("scale_by_rss", "it divides every unit by a sum of squares of its own", better)


def adagrad(*_: Any, **__: Any) -> NoReturn:
    """Refused as `scale_by_rss` is."""
    _refuse("adagrad", "it divides every unit by a sum of squares of its own", "use adagrad_star")


def nadam(*_: Any, **__: Any) -> NoReturn:
    """Refused as `scale_by_adam` is."""
    _refuse("nadam", "it divides every unit by a second moment of its own", "use nadam_star")


def scale_by_sign(*_: Any, **__: Any) -> NoReturn:
    """Refused: a sign is not linear in the gradient of a unit."""
    _refuse("scale_by_sign", "the sign of a unit's gradient is not linear in it", _STAR)


def sign_sgd(*_: Any, **__: Any) -> NoReturn:
    """Refused as `scale_by_sign` is."""
    _refuse("sign_sgd", "the sign of a unit's gradient is not linear in it", "use adam_star")


def lion(*_: Any, **__: Any) -> NoReturn:
    """Refused as `scale_by_sign` is."""
    _refuse("lion", "the sign of a unit's gradient is not linear in it", "use adam_star")


def clip(*_: Any, **__: Any) -> NoReturn:
    """Refused: clipping entry by entry is not linear in the gradient of a unit."""
    _refuse("clip", "it clips every unit by itself", "use clip_by_functional_norm")


_STAR = "use scale_by_adam_star"


def _refuse(name: str, why: str, better: str) -> NoReturn:
    raise ValueError(
        f"{name} has no kernel form: {why}, so that the step leaves the span of the features seen "
        f"(docs/theory.md, sections 5 and 8); {better}"
    )
