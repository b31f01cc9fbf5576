"""Checkpoints of a run's state (Orbax): kept two at a time, written atomically."""

import errno
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from infwidth.config.errors import UserError

_log = logging.getLogger(__name__)
_KEPT = 2


class Checkpoints:
    """The checkpoints under one folder, by step."""

    def __init__(self, folder: Path):
        self._folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        self._checkpointer = self._open()

    def _open(self) -> ocp.training.Checkpointer:
        return ocp.training.Checkpointer(
            self._folder,
            preservation_policy=ocp.training.preservation_policies.LatestN(_KEPT),
        )

    def save(self, step: int, state: Any) -> None:
        """Writes the state; on return it is safely on disk.

        Raises:
          UserError: the disk is full; what was saved before stays.
        """
        try:
            self._checkpointer.save(step, state)
        except Exception as error:
            if _disk_is_full(error):
                raise UserError(
                    f"{self._folder}: no space left on the disk for the checkpoint of step {step}; "
                    "free some and run the same command again, it goes on from the last checkpoint"
                ) from error
            raise

    def restore(self, template_at: Callable[[int], Any]) -> tuple[int, Any] | None:
        """The newest checkpoint that can be read, as (step, state); None if there is none.

        `template_at` gives, for a step, a state of the structure and shapes that it has there.

        A damaged checkpoint is named, removed and passed over: the run goes on from the one before
        it, or from its start, and ends with the same numbers.
        """
        for metadata in sorted(self._checkpointer.checkpoints, key=lambda m: -m.step):
            try:
                return metadata.step, self._checkpointer.load(
                    metadata.step, template_at(metadata.step)
                )
            except Exception as error:
                # A truncated file surfaces as whatever its parser raises; but a state that could
                # not be read for want of memory, of permission or of a disk is not damaged.
                if isinstance(error, MemoryError | jax.errors.JaxRuntimeError) or (
                    isinstance(error, OSError) and error.errno not in (None, errno.ENOENT)
                ):
                    raise
                _log.warning(
                    "checkpoint %s/%d is damaged (%s): going on from an earlier one",
                    self._folder,
                    metadata.step,
                    type(error).__name__,
                )
                shutil.rmtree(self._folder / str(metadata.step), ignore_errors=True)
                # A checkpointer remembers the steps that it has seen, the removed one too.
                self._checkpointer.close()
                self._checkpointer = self._open()
        return None

    def close(self) -> None:
        """Ends the checkpointer's threads."""
        self._checkpointer.close()


def _disk_is_full(error: BaseException | None) -> bool:
    while error is not None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or "No space left" in str(error) or "RESOURCE_EXHAUSTED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
