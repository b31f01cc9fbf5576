# SPDX-License-Identifier: Apache-2.0
"""How much memory of the machine a process takes, read from Linux's /proc."""

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def can_measure() -> bool:
    """Whether this system tells a process its peak memory, and lets it start anew."""
    return _STATUS.exists() and _RESET.exists()


def growth(prepare: Callable[[], Any], work: Callable[[Any], None]) -> int:
    """Does some work; returns by how many bytes that and what it works on made this process larger.

    Free memory is given back to the system before, so that none of it is used unseen.

    Args:
      prepare: makes what to work on; what it needs in passing does not count.
      work: is given that, and alone holds it.

    Returns:
      The peak of the resident memory during the work less what it was before the preparation.
    """
    _give_back()
    before = _bytes_of("VmRSS")
    things = [prepare()]
    _give_back()
    _RESET.write_text(_RESET_PEAK)
    work(things.pop())
    return _bytes_of("VmHWM") - before


def _give_back() -> None:
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _bytes_of(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"{_STATUS} has no {name}")
