# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a run's state (Orbax): kept two at a time, written atomically, in the background.

A state that lies in parts on several devices is written in parts, by all processes that hold some,
and can be read onto other devices than it came from. Beside its data a checkpoint has the digests
of all its files; one without them, as a kill may leave it, is taken as it is.
"""

import errno
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from infwidth.config.errors import UserError
from infwidth.data.files import describe_files, file_digest
from infwidth.stored import Damaged, load_json, write_json
from infwidth.training import processes

_log = logging.getLogger(__name__)
_KEPT = 2
DIGESTS = "digests.json"
"""In a checkpoint's folder."""
# A file that is missing, or of another kind, tells of the checkpoint and not of the system.
_DAMAGE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
# TensorStore raises what the system refuses as a ValueError, with one of these in its text.
_SYSTEM_ERROR = re.compile(r"os_error_code='(\d+)'")
_REFUSAL = re.compile(
    r"PERMISSION_DENIED|UNAUTHENTICATED|UNAVAILABLE|RESOURCE_EXHAUSTED|DEADLINE_EXCEEDED"
)


class Checkpoints:
    """The checkpoints under one folder, by step; one user of the folder at a time."""

    def __init__(self, folder: Path):
        self._folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        self._saving: int | None = None
        self._digesting: threading.Thread | None = None
        self._checkpointer = self._open()

    def _open(self) -> ocp.training.Checkpointer:
        return ocp.training.Checkpointer(
            self._folder,
            preservation_policy=ocp.training.preservation_policies.LatestN(_KEPT),
            # What a kill in the middle of writing has left.
            cleanup_tmp_directories=True,
        )

    def save(self, step: int, state: Any) -> None:
        """Copies the state and writes it in the background, once what is being written is done.

        Raises:
          UserError: it cannot be written, as on a full disk; what was saved before stays.
        """
        with self._writing():
            self._wait()
            self._saving = step
            # Orbax would pass a step over that it thinks too near to the last.
            written = self._checkpointer.save_async(step, state, force=True)
            if processes.is_first():
                self._digesting = threading.Thread(target=self._digest, args=(step, written))
                self._digesting.start()

    def close(self) -> None:
        """Waits until all is safely on disk, or raises as `save` does; ends all threads."""
        with self._writing():
            self._wait()
            self._checkpointer.close()

    def _wait(self) -> None:
        self._checkpointer.wait()
        if self._digesting is not None:
            self._digesting.join()

    def _digest(self, step: int, written: Any) -> None:
        """Waits until a checkpoint is written and notes the digests of its files."""
        # What goes wrong in writing is raised where it is waited for.
        with suppress(Exception):
            written.result()
            folder = self._folder / str(step)
            write_json(folder / DIGESTS, self._place(step) | {"files": describe_files(folder)})

    def _place(self, step: int) -> dict[str, Any]:
        """What a checkpoint is of."""
        return {"run": self._folder.parent.name, "step": step}

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if refusal := _refusal(error):
                raise UserError(
                    f"{self._folder}: the checkpoint of step {self._saving} cannot be written "
                    f"({refusal}); mend that and run the same command again, it goes on from the "
                    "last checkpoint"
                ) from error
            raise

    def restore(self, template_at: Callable[[int], Any], latest: int) -> tuple[int, Any] | None:
        """The newest checkpoint that can be read, as (step, state); None if there is none.

        A damaged checkpoint is named, moved aside and passed over: the run goes on from the one
        before it, or from its start, and ends with the same numbers. So is one of a step after
        `latest`, to which the run's metrics go. `template_at` gives a state's shapes at a step.

        Raises:
          UserError: the system does not let one be read, which may be whole.
        """
        steps = sorted((m.step for m in self._checkpointer.checkpoints), reverse=True)
        for step in processes.agree(steps):
            state, error = self._load(step, template_at(step), latest)
            if not processes.any_of_them(error is not None):
                return step, state
            aside = processes.agree(self._move_aside(step) if processes.is_first() else None)
            _log.warning(
                "checkpoint %s/%d is damaged (%s): moved to %s, going on from an earlier one",
                self._folder,
                step,
                _in_words(error),
                aside,
            )
            # A checkpointer remembers the steps that it has seen, the damaged one too.
            self._checkpointer.close()
            self._checkpointer = self._open()
        return None

    def _load(self, step: int, template: Any, latest: int) -> tuple[Any, Exception | None]:
        """The state of a step, or what shows that it is damaged."""
        try:
            self._check(step, latest)
            return self._checkpointer.load(step, template), None
        except Exception as error:
            # A truncated file surfaces as whatever its parser raises, in a KeyError of Orbax; but a
            # state that could not be read for want of memory, of permission or of a disk is whole.
            if refusal := _refusal(error):
                raise UserError(
                    f"{self._folder / str(step)}: the checkpoint cannot be read ({refusal}); mend "
                    "that and run the same command again, it goes on from there"
                ) from error
            return None, error

    def _check(self, step: int, latest: int) -> None:
        if step > latest:
            raise Damaged(f"metrics end at step {latest}")
        folder = self._folder / str(step)
        try:
            noted = load_json(folder / DIGESTS)
        except FileNotFoundError:
            return
        if {name: noted.get(name) for name in ("run", "step")} != self._place(step):
            raise Damaged("it is of another run or step")
        for name, about in noted["files"].items():
            if file_digest(folder / name) != about["sha256"]:
                raise Damaged(f"the sha256 of {name} differs")

    def _move_aside(self, step: int) -> str:
        """Moves a step's folder out of the checkpoints, to a name of its own that it returns."""
        damaged = self._folder.with_name(f"{self._folder.name}-damaged")
        damaged.mkdir(exist_ok=True)
        names = (f"{step}-{times}" if times > 1 else str(step) for times in count(1))
        aside = next(damaged / name for name in names if not (damaged / name).exists())
        return str((self._folder / str(step)).rename(aside))


def _in_words(error: Exception | None) -> str:
    if error is None:
        return "in another process"
    cause = _causes(error)[-1]
    return str(cause) if isinstance(cause, Damaged) else type(cause).__name__


def _causes(error: BaseException) -> list[BaseException]:
    """An error, what it was raised from, and so on."""
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
        causes.append(cause)
    return causes


def _refusal(error: Exception) -> str | None:
    """What the system would not do, in its words; None if the error is of another kind.

    Raises:
      MemoryError, jax.errors.JaxRuntimeError: the error comes of one, as where memory ran out.
    """
    for cause in _causes(error):
        if isinstance(cause, MemoryError | jax.errors.JaxRuntimeError):
            raise cause
        code = _SYSTEM_ERROR.search(str(cause))
        number = cause.errno if isinstance(cause, OSError) else int(code[1]) if code else None
        if number is not None and number not in _DAMAGE:
            return os.strerror(number)
        if number is None and (status := _REFUSAL.search(str(cause))):
            return status[0]
    return None
