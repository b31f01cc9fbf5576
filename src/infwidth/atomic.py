# SPDX-License-Identifier: Apache-2.0
"""Writing files so that a kill or a full disk leaves the old one or the new one, never a part."""

import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infwidth.config.errors import AS_BEFORE, UserError


def read_json(path: Path, made_by: str, keys: Iterable[str] = ()) -> Any:
    """Reads a JSON file that a command has written.

    Args:
      path: the file.
      made_by: the command that writes it, named in the error.
      keys: what its map must hold at least.

    Returns:
      The value.

    Raises:
      UserError: the file is missing, cannot be read, is not JSON or lacks a key.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path} is missing: run `{made_by}` first, {AS_BEFORE}") from None
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); it should be a file that `{made_by}` wrote"
        ) from None
    except ValueError:
        raise UserError(
            f"{path} is damaged: delete it and run `{made_by}` again, {AS_BEFORE}"
        ) from None
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            raise UserError(
                f"{path} is damaged (no '{key}' in it): "
                f"delete it and run `{made_by}` again, {AS_BEFORE}"
            )
    return value


def write_json(path: Path, content: Any) -> None:
    """Writes JSON so that a reader sees all of it or none; numbers that are not finite are null."""
    text = json.dumps(finite(content), indent=2, ensure_ascii=False)
    write_atomically(path, text + "\n")


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


def finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: both become null, however deep in lists and maps."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


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
