"""Writing files so that a kill or a full disk leaves the old one or the new one, never a part."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infwidth.config.errors import UserError


def write_json(path: Path, content: Any) -> None:
    """Writes JSON so that a reader sees all of it or none; numbers that are not finite are null."""
    write_atomically(path, json.dumps(finite(content), indent=1, sort_keys=True) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Writes a file so that a reader, or a kill, sees all of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with disk_errors(path.parent):
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


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
