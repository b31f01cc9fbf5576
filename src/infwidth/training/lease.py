# SPDX-License-Identifier: Apache-2.0
"""Leases a machine's GPUs, or its TPU, to processes, so that two jobs never share one by accident.

A lease is a locked file, named by the GPU; the kernel frees it when its holder dies, however it
dies. It binds the jobs of one user on one machine, which are those of one workflow or of several.
"""

import importlib.util
import logging
import os
import shutil
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from itertools import count as numbers
from pathlib import Path

from filelock import FileLock, Timeout

from infwidth.config.errors import UserError

_log = logging.getLogger(__name__)
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_VISIBLE_CHIPS = ("TPU_VISIBLE_CHIPS", "TPU_VISIBLE_DEVICES")
DEV = Path("/dev")
"""Where device files are."""

_held: list[FileLock] = []


def gpu_count() -> int:
    """The number of NVIDIA GPUs that this process may use."""
    return len(visible_gpus())


def visible_gpus() -> list[str]:
    """The NVIDIA GPUs that this process may use, by the names that CUDA_VISIBLE_DEVICES takes."""
    if os.environ.get("JAX_PLATFORMS", "").startswith("cpu"):
        return []
    visible = os.environ.get(_VISIBLE)
    if visible is None:
        return _installed()
    names = [name.strip() for name in visible.split(",")]
    # As CUDA reads it: what follows the first invalid name does not count.
    return names[: next((i for i, name in enumerate(names) if name in ("", "-1")), len(names))]


def lease(count: int, interval: float = 1.0) -> list[str]:
    """Takes `count` GPUs that no other job holds, until this process ends; waits for them.

    It says which by setting CUDA_VISIBLE_DEVICES, so call it before JAX is imported. Where no more
    GPUs than `count` are visible and CUDA_VISIBLE_DEVICES is set, somebody else (such as Slurm)
    has dealt them out, and they are taken as they are.

    Raises:
      UserError: there are not so many.
    """
    names = visible_gpus()
    if count > len(names):
        raise UserError(
            f"this job is to run on {count} GPUs, but {len(names)} are visible to it: lower "
            "training.mesh, or run it where there are as many"
        )
    if _VISIBLE in os.environ and len(names) == count:
        return names
    waited = False
    # Who holds some and waits for more could wait for ever: only one process gathers at a time.
    with FileLock(_file("leasing", names)):
        while len(free := _lock_free(names, count)) < count:
            if not waited:
                _log.info("waiting for %d of the GPUs %s", count, ", ".join(names))
            waited = True
            time.sleep(interval)
    os.environ[_VISIBLE] = ",".join(free)
    return free


def on_tpu_host() -> bool:
    """Whether JAX would run on a TPU of this machine."""
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if platforms and "tpu" not in platforms.split(","):
        return False
    if importlib.util.find_spec("libtpu") is None:
        return False
    return any(DEV.glob("accel[0-9]*")) or any(DEV.glob("vfio/[0-9]*"))


def lease_tpu(interval: float = 1.0) -> bool:
    """Takes all chips of this machine's TPU, if it has one, until this process ends, and waits.

    Of two processes JAX gives the chips to the first, and the other may go on without them.
    Where the environment names the chips of this process, somebody else has dealt them out.
    """
    if not on_tpu_host():
        return False
    if not any(os.environ.get(name) for name in _VISIBLE_CHIPS):
        lock = FileLock(_file("tpu"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _log.info("waiting for the TPU")
            lock.acquire(poll_interval=interval)
        _held.append(lock)
    return True


def _lock_free(names: list[str], count: int) -> list[str]:
    """Locks `count` of the GPUs and returns their names; locks none if fewer are free."""
    locks: dict[str, FileLock] = {}
    for name in names:
        lock = FileLock(_file(name))
        with suppress(Timeout):
            lock.acquire(timeout=0)
            locks[name] = lock
        if len(locks) == count:
            _held.extend(locks.values())
            return list(locks)
    for lock in locks.values():
        lock.release()
    return []


def _file(name: str, gpus: list[str] | None = None) -> Path:
    """The lock of a GPU, or of what concerns some of them."""
    # Each job of Slurm may know its first GPU as 0; by UUID, a GPU is the same one to all jobs.
    numbered = any(gpu.isdigit() for gpu in gpus or [name])
    job = os.environ.get("SLURM_JOB_ID", "local") if numbered else "local"
    return _own_folder() / f"{job}-gpu-{name}.lock"


def _own_folder() -> Path:
    """A folder that nobody else can write to, the same to all jobs of the user here."""
    start = Path(tempfile.gettempdir()) / f"infwidth-leases-{os.getuid()}"
    return next(filter(_is_own, (Path(f"{start}-{number}") for number in numbers())))


def _is_own(folder: Path) -> bool:
    """Makes a folder; False where somebody else has put something of that name there."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o22


def _installed() -> list[str]:
    """The GPUs that the driver lists, by UUID: a number means another GPU to another job."""
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    gpus = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return [line.rsplit("UUID: ", 1)[-1].rstrip(")") for line in gpus]
