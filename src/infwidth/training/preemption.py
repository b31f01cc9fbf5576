# SPDX-License-Identifier: Apache-2.0
"""SIGTERM while a run trains: a wish to stop, granted once the state is saved.

Slurm, spot machines and TPUs send SIGTERM some time before they kill.
"""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from infwidth.signals import saves_when_told, take_the_time
from infwidth.training.processes import any_of_them

_log = logging.getLogger(__name__)


@contextmanager
def sigterm_deferred() -> Iterator[Callable[[], bool]]:
    """Keeps SIGTERM from ending the process within the block, if it is told the wish soon.

    Yields:
      A function that says whether any of the processes that share the run was sent SIGTERM; all of
      them must ask, at the same step. Outside of the main thread it looks at the others' only.
    """
    asked = threading.Event()

    def stop() -> bool:
        told = any_of_them(asked.is_set())
        if told:
            take_the_time()
        return told

    if threading.current_thread() is not threading.main_thread():
        # Python lets the main thread alone have handlers.
        yield stop
        return

    def take_note(*_: Any) -> None:
        if not asked.is_set():
            asked.set()
            _log.info("SIGTERM: stopping as soon as the steps under way are done and saved")

    before = signal.signal(signal.SIGTERM, take_note)
    try:
        with saves_when_told():
            yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
