# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a run's state (Orbax): kept two at a time, written atomically, in the background.

A state that lies in parts on several devices is written in parts, by all processes that hold some,
and can be read onto other devices than it came from.
"""

import errno
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from infwidth.config.errors import UserError
from infwidth.training import processes

_log = logging.getLogger(__name__)
_KEPT = 2


class Checkpoints:
    """The checkpoints under one folder, by step; one user of the folder at a time."""

    def __init__(self, folder: Path):
        self._folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        self._saving: int | None = None
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
          UserError: the disk is full; what was saved before stays.
        """
        with self._disk_errors():
            self._checkpointer.wait()
            self._saving = step
            # Orbax would pass a step over that it thinks too near to the last.
            self._checkpointer.save_async(step, state, force=True)

    def close(self) -> None:
        """Waits until all is safely on disk, and ends the checkpointer's threads.

        Raises:
          UserError: the disk is full; what was saved before stays.
        """
        with self._disk_errors():
            self._checkpointer.close()

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if _disk_is_full(error):
                raise UserError(
                    f"{self._folder}: no space left on the disk for the checkpoint of step "
                    f"{self._saving}; free some and run the same command again, it goes on from "
                    "the last checkpoint"
                ) from error
            raise

    def restore(self, template_at: Callable[[int], Any]) -> tuple[int, Any] | None:
        """The newest checkpoint that can be read, as (step, state); None if there is none.

        `template_at` gives, for a step, a state of the structure and shapes that it has there.

        A damaged checkpoint is named, removed and passed over: the run goes on from the one before
        it, or from its start, and ends with the same numbers.
        """
        steps = sorted((m.step for m in self._checkpointer.checkpoints), reverse=True)
        for step in processes.agree(steps):
            state, error = self._load(step, template_at(step))
            if not processes.any_of_them(error is not None):
                return step, state
            _log.warning(
                "checkpoint %s/%d is damaged (%s): going on from an earlier one",
                self._folder,
                step,
                type(error).__name__ if error else "in another process",
            )
            if processes.is_first():
                shutil.rmtree(self._folder / str(step), ignore_errors=True)
            # A checkpointer remembers the steps that it has seen, the removed one too.
            self._checkpointer.close()
            self._checkpointer = self._open()
        return None

    def _load(self, step: int, template: Any) -> tuple[Any, Exception | None]:
        """The state of a step, or what shows that it is damaged."""
        try:
            return self._checkpointer.load(step, template), None
        except Exception as error:
            # A truncated file surfaces as whatever its parser raises; but a state that could not
            # be read for want of memory, of permission or of a disk is not damaged.
            if isinstance(error, MemoryError | jax.errors.JaxRuntimeError) or (
                isinstance(error, OSError) and error.errno not in (None, errno.ENOENT)
            ):
                raise
            return None, error


def _disk_is_full(error: BaseException | None) -> bool:
    while error is not None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or "No space left" in str(error) or "RESOURCE_EXHAUSTED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
