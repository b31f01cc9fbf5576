# SPDX-License-Identifier: Apache-2.0
"""A job ends when the workflow that started it dies, even by SIGKILL."""

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import psutil

VARIABLE = "INFWIDTH_WORKFLOW"
"""Set by the Snakefile: `host:pid:start` of the workflow's outermost process."""


def describe_this_process() -> str:
    """The value of `VARIABLE` for the calling process."""
    own = psutil.Process()
    return f"{socket.gethostname()}:{own.pid}:{_start(own)}"


def end_with_workflow(interval: float = 1.0) -> None:
    """Watches the workflow's process from a thread and ends this one when it is gone.

    Does nothing when started by hand, or on another machine than the workflow's. The interval is
    that between two looks, in seconds.
    """
    host, _, process = os.environ.get(VARIABLE, "").partition(":")
    if host != socket.gethostname():
        return
    pid, _, start = process.partition(":")
    watch = threading.Thread(target=_watch, args=(int(pid), start, interval), daemon=True)
    watch.start()


def _watch(pid: int, start: str, interval: float) -> None:
    workflow = _find(pid, start)
    while workflow is not None and _alive(workflow):
        time.sleep(interval)
    print("infwidth: the workflow that began this is gone, and so this ends", file=sys.stderr)
    # The main thread may be deep inside a compiled loop, where no Python exception reaches it.
    os.kill(os.getpid(), signal.SIGKILL)


def _find(pid: int, start: str) -> psutil.Process | None:
    """The process of that number which began at `start`; None if it is gone."""
    try:
        process = psutil.Process(pid)
        return process if _start(process) == start else None
    except psutil.NoSuchProcess:
        return None


def _start(process: psutil.Process) -> str:
    """When a process began, on a scale that stays when somebody sets the clock."""
    if sys.platform != "linux":
        return str(process.create_time())
    # psutil adds the time of boot, which Linux derives from the clock.
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(process.pid) from None
    # The name, in parentheses, may hold spaces; field 22 is the start in ticks since boot.
    return stat.rpartition(")")[2].split()[19]


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
