# SPDX-License-Identifier: Apache-2.0
"""Reads the files of measurements; what is missing or damaged is named in one line."""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd

from infwidth import stored
from infwidth.config.errors import UserError

MADE_BY = "infwidth reproduce"


def digest(path: Path) -> str:
    """The sha256 of a file, hexadecimal.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); run the experiment that writes it, or "
            "draw what is published: `infwidth redraw`"
        ) from error


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A Parquet file that has these columns, and maybe others.

    Raises:
        UserError: it is missing or damaged, or lacks a column.
    """
    frame = stored.read_table(path, MADE_BY)
    require(path, "the table", frame.columns, columns, "column")
    return frame


def read_json(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """A JSON object that has these keys, and maybe others.

    Raises:
        UserError: it is missing or damaged, or lacks a key.
    """
    value: dict[str, Any] = stored.read_json(path, MADE_BY)
    require(path, "the file", value, keys)
    return value


def require(path: Path, place: str, has: Any, names: tuple[str, ...], kind: str = "key") -> None:
    """Refuses what lacks one of the names.

    Raises:
        UserError: the first name that `has` lacks, with the path and the place in it.
    """
    missing = [name for name in names if name not in has]
    if missing:
        raise UserError(f"{path}: {place} lacks the {kind} '{missing[0]}'; write it anew")
