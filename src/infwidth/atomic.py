# SPDX-License-Identifier: Apache-2.0
"""Writing files so that a kill or a full disk leaves the old one or the new one, never a part."""

import os
import re
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
    """Gives a name to write to, beside `path` and with its suffix; what is there then becomes it.

    Its folder is made if need be. If the block fails, `path` stays as it was and nothing is left
    beside it.

    Raises:
      UserError: the disk is full, or the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_strays(path)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _remove_strays(path: Path) -> None:
    """Removes what writers of a file have left that were killed, lest it be taken for a result."""
    stray = re.compile(rf"{re.escape(f'.{path.stem}.')}(\d{{1,9}}){re.escape(path.suffix)}")
    for name in os.listdir(path.parent):
        if (found := stray.fullmatch(name)) and not _lives(int(found[1])):
            path.with_name(name).unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


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
