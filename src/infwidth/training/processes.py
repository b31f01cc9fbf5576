# SPDX-License-Identifier: Apache-2.0
"""Several processes that share one run: how they find each other, agree, and stop when told.

All of them compute; only the first one writes run records, results and locks. Checkpoints are
written by all, each its part. SIGTERM, which Slurm, spot machines and TPUs send some time before
they kill, is a wish to stop, granted once the state is saved.
"""

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infwidth.config.errors import UserError
from infwidth.signals import saves_when_told, take_the_time
from infwidth.stored import write_json

_log = logging.getLogger(__name__)

COORDINATOR = "INFWIDTH_COORDINATOR"
"""Environment variable: host:port of the first process; `auto` leaves all three to JAX."""

COUNT = "INFWIDTH_PROCESSES"
"""Environment variable: how many processes there are."""

INDEX = "INFWIDTH_PROCESS"
"""Environment variable: which one this is, from 0."""

_SLURM_TASKS = "SLURM_STEP_NUM_TASKS"
_TPU_HOSTS = "TPU_WORKER_HOSTNAMES"


def named_count() -> int:
    """How many processes the environment says share a run; 1 where it names none."""
    _named()
    return _number(COUNT if os.environ.get(COUNT) else _SLURM_TASKS)


def join(gpus: int) -> None:
    """Joins the other processes of this run, if the environment names any; before JAX computes.

    They are found by `INFWIDTH_COORDINATOR`, `INFWIDTH_PROCESSES` and `INFWIDTH_PROCESS`; else, in
    a Slurm step of several tasks or on one of several TPU hosts, by JAX itself. The GPUs that are
    visible to this process, so many, are all its own.

    Raises:
      UserError: the three variables do not say who is who.
    """
    named = _named()
    if named is None:
        return

    import jax

    # JAX's own service would swallow SIGTERM, which the training loop acts on.
    jax.config.update("jax_enable_preemption_service", False)
    # JAX would take the GPU of this task's number, of those that are this task's already.
    if gpus:
        named["local_device_ids"] = list(range(gpus))
    jax.distributed.initialize(**named)


def _named() -> dict[str, Any] | None:
    """What `jax.distributed.initialize` is to be told; None where a process is by itself."""
    given = {name: os.environ[name] for name in (COORDINATOR, COUNT, INDEX) if os.environ.get(name)}
    if given.get(COORDINATOR) == "auto":
        return {}
    if given:
        missing = [name for name in (COORDINATOR, COUNT, INDEX) if name not in given]
        if missing:
            raise UserError(f"{missing[0]} is not set, but {next(iter(given))} is: set all three")
        count, index = _number(COUNT), _number(INDEX, least=0)
        if index >= count:
            raise UserError(f"{INDEX} ({index}) must be from 0 to {COUNT} − 1 ({count - 1})")
        return {
            "coordinator_address": given[COORDINATOR],
            "num_processes": count,
            "process_id": index,
            "cluster_detection_method": "deactivate",
        }
    several_tasks = _number(_SLURM_TASKS) > 1
    several_hosts = "," in os.environ.get(_TPU_HOSTS, "")
    return {} if several_tasks or several_hosts else None


def _number(name: str, least: int = 1) -> int:
    """The whole number that an environment variable holds; 1 where it is not set."""
    text = os.environ.get(name) or "1"
    if not text.isdecimal() or int(text) < least:
        raise UserError(f"{name} ({text}) must be a whole number, {least} or more")
    return int(text)


def shares_a_run() -> bool:
    """Whether this process has joined others."""
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


def is_first() -> bool:
    """Whether this process is the one that writes."""
    import jax

    return jax.process_index() == 0


def agree(value: Any) -> Any:
    """What the first process says, in all of them; its `value` must be made of JSON's types."""
    import jax

    if jax.process_count() == 1:
        return value
    import numpy as np
    from jax.experimental.multihost_utils import broadcast_one_to_all

    text = json.dumps(value).encode() if is_first() else b""
    size = int(broadcast_one_to_all(np.int32(len(text))))
    # Of few lengths, since each is compiled.
    buffer = np.zeros(1 << size.bit_length(), np.uint8)
    buffer[: len(text)] = np.frombuffer(text, np.uint8)
    return json.loads(bytes(broadcast_one_to_all(buffer)[:size]))


def write_once(path: Path, content: Any) -> None:
    """Writes a JSON file, in the first process only."""
    if is_first():
        write_json(path, content)


def any_of_them(flag: bool) -> bool:
    """Whether `flag` is true in any process; all must ask."""
    import jax

    if jax.process_count() == 1:
        return flag
    import numpy as np
    from jax.experimental.multihost_utils import process_allgather

    return bool(process_allgather(np.bool_(flag)).any())


@contextmanager
def sigterm_deferred() -> Iterator[Callable[[], bool]]:
    """Keeps SIGTERM from ending the process within the block, if it is told the wish soon.

    What it gives says whether any of the processes that share the run was sent SIGTERM; all of them
    must ask, at the same step. Outside of the main thread it looks at the others' only.
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
