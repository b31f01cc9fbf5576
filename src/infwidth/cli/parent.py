# SPDX-License-Identifier: Apache-2.0
"""A job ends when the workflow that started it dies, even by SIGKILL."""

import os
import signal
import socket
import threading
import time

import psutil

VARIABLE = "INFWIDTH_WORKFLOW"
"""Set by the Snakefile: `host:pid:start time` of the workflow's outermost process."""


def describe_this_process() -> str:
    """The value of `VARIABLE` for the calling process."""
    own = psutil.Process()
    return f"{socket.gethostname()}:{own.pid}:{own.create_time()}"


def end_with_workflow(interval: float = 1.0) -> None:
    """Watches the workflow's process from a thread and ends this one when it is gone.

    Does nothing when started by hand, or on another machine than the workflow's.

    Args:
      interval: seconds between two looks.
    """
    host, _, process = os.environ.get(VARIABLE, "").partition(":")
    if host != socket.gethostname():
        return
    pid, _, started = process.partition(":")
    watch = threading.Thread(target=_watch, args=(int(pid), float(started), interval), daemon=True)
    watch.start()


def _watch(pid: int, started: float, interval: float) -> None:
    while _alive(pid, started):
        time.sleep(interval)
    # The main thread may be deep inside a compiled loop, where no Python exception reaches it.
    os.kill(os.getpid(), signal.SIGKILL)


def _alive(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        return process.create_time() == started and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
