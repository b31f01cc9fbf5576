# SPDX-License-Identifier: Apache-2.0
"""Whether what was made anew is what was published: same bytes, equal to rounding, or other."""

import re
from enum import StrEnum

RELATIVE = 1e-9
"""Two numbers in full precision are equal to rounding if they differ by no more than this share.

Statistics are computed in float64 (2e-16); sums in another order lose a few digits of it.
"""


class Sameness(StrEnum):
    """How close two files are, the closest first."""

    SAME = "same bytes"
    ROUNDING = "equal to rounding"
    OTHER = "differs"


# Not a part of a word, so that no digest is taken for a number.
_NUMBER = re.compile(r"(?<![\w.])[+−-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.]\w)(?!\w)")


def compare_texts(first: str, second: str, shown: bool = False) -> Sameness:
    """Compares two texts: the words must be equal, and the numbers to rounding.

    Numbers that are `shown` are rounded for a reader, so that the last decimal may be one off; else
    they are in full precision. Whole numbers must be equal either way.
    """
    if first == second:
        return Sameness.SAME
    if _NUMBER.sub("0", first) != _NUMBER.sub("0", second):
        return Sameness.OTHER
    pairs = zip(_NUMBER.findall(first), _NUMBER.findall(second), strict=True)
    close = all(one == other or _close(one, other, shown) for one, other in pairs)
    return Sameness.ROUNDING if close else Sameness.OTHER


def _close(first: str, second: str, shown: bool) -> bool:
    if not any(sign in text for text in (first, second) for sign in ".eE"):
        return False
    one, other = (float(text.replace("−", "-")) for text in (first, second))
    allowed = RELATIVE * max(abs(one), abs(other))
    if shown:
        # Half a unit more, for the error of this subtraction itself.
        allowed = max(allowed, 1.5 * 10.0 ** -_decimals(first))
        return _decimals(first) == _decimals(second) and abs(one - other) <= allowed
    return abs(one - other) <= allowed


def _decimals(number: str) -> int:
    return len(number.partition(".")[2])
