# SPDX-License-Identifier: Apache-2.0
"""SIGTERM while a run trains: a wish to stop, granted once the state is saved.

Slurm, spot machines and TPUs send SIGTERM some time before they kill.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from infwidth.training.processes import any_of_them

_log = logging.getLogger(__name__)
_REPEATED_WITHIN = 10.0


@contextmanager
def sigterm_deferred() -> Iterator[Callable[[], bool]]:
    """Keeps SIGTERM from ending the process within the block, until it is asked a second time.

    Those that come within 10 s of the first are the same wish, and leave a save in progress alone:
    systemd, Slurm and `infwidth reproduce` each signal all processes, one after another. A later
    one ends the process at once.

    Yields:
      A function that says whether any of the processes that share the run was sent SIGTERM; all of
      them must ask, at the same step. Outside of the main thread it looks at the others' only.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        # Python lets the main thread alone have handlers.
        yield lambda: any_of_them(False)
        return
    before = signal.getsignal(signal.SIGTERM)
    first = 0.0

    def take_note(*_: Any) -> None:
        nonlocal first
        if asked.is_set():
            if time.monotonic() - first > _REPEATED_WITHIN:
                signal.signal(signal.SIGTERM, before)
                signal.raise_signal(signal.SIGTERM)
            return
        first = time.monotonic()
        asked.set()
        _log.info("SIGTERM: stopping as soon as the steps under way are done and saved")

    signal.signal(signal.SIGTERM, take_note)
    try:
        yield lambda: any_of_them(asked.is_set())
    finally:
        signal.signal(signal.SIGTERM, before)
