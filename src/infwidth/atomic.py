# SPDX-License-Identifier: Apache-2.0
"""Writing files so that a kill or a full disk leaves the old one or the new one, never a part."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infwidth.config.errors import UserError


def write_atomically(path: Path, text: str) -> None:
    """Writes a file so that a reader, or a kill, sees all of it or none."""
    with replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Gives a name to write to, with the same suffix; what is there at the end becomes `path`.

    If the block fails, `path` stays as it was and nothing is left beside it.

    Args:
      path: what to create or replace; its folder is made if need be.

    Yields:
      The name to write to, on the same file system.

    Raises:
      UserError: the disk is full, or the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns a full or read-only disk into one line that says what to do."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{folder}: cannot write ({error.strerror}); mend that and run the same command again, "
            "it goes on from where it was"
        ) from error
