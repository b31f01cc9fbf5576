# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM end a process even where Python's own handlers wait for a compiled call."""

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_PATIENCE = 4.5
_ONE_WISH = 1.0
_NOTICED = (signal.SIGINT, signal.SIGTERM)
_saves = threading.Event()
_at_its_end = threading.Event()


def end_when_told() -> None:
    """Raises KeyboardInterrupt on SIGTERM, as on SIGINT, and sees to it that the process ends.

    One that has not ended 4.5 s after the signal ends as if it were killed, with status 130 and a
    line; a second signal does so at once. What was written before stays.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    # Python writes there when a signal comes, and not when its handler's turn comes.
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reading,), daemon=True).start()


@contextmanager
def saves_when_told() -> Iterator[None]:
    """Within the block, signals of one second are one wish: each would cost what is to be saved.

    systemd, Slurm and `infwidth reproduce` signal all processes, one after another.
    """
    _saves.set()
    try:
        yield
    finally:
        _saves.clear()


def take_the_time() -> None:
    """From here on this process ends by itself, however long it takes: unless told once more."""
    _at_its_end.set()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _watch(reading: int) -> None:
    _told(reading, None)
    first = time.monotonic()
    while _at_its_end.is_set() or time.monotonic() < first + _PATIENCE:
        one_wish = _saves.is_set() and time.monotonic() < first + _ONE_WISH
        if _told(reading, 0.1) and not one_wish:
            break
    # What draws a bar on a terminal has hidden the cursor.
    shown = b"\x1b[?25h" if os.isatty(2) else b""
    os.write(2, shown + b"infwidth: interrupted; run the same command again to go on\n")
    os._exit(128 + signal.SIGINT)


def _told(reading: int, seconds: float | None) -> bool:
    """Waits for a signal that is to end this process; says whether there was one."""
    while True:
        if not select.select([reading], [], [], seconds)[0]:
            return False
        if any(number in _NOTICED for number in os.read(reading, 1)):
            return True
