# SPDX-License-Identifier: Apache-2.0
"""Files that a later step reads: each carries a sha256 of its own, checked when it is read.

The digest stands in the file, as `own_sha256`: of all its bytes, with zeros where it stands itself.
A file without one is of an earlier version, or somebody's own, and is taken as it is; no one damage
takes a digest away and leaves other numbers behind.

What is damaged is renamed, so that a plain rerun makes it anew, and named in one line.
"""

import hashlib
import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infwidth.atomic import replacing_file
from infwidth.config.errors import AS_BEFORE, UserError
from infwidth.layout import PUBLISHED

if TYPE_CHECKING:
    import pandas as pd

OWN = "own_sha256"
"""The first member of a JSON file or line, and a key of a Parquet file's metadata."""

_BLANK = b"0" * 64
_DIGEST = re.compile(rb"[0-9a-f]{64}")
_HEADS = {2: f'{{\n  "{OWN}": "'.encode(), None: f'{{"{OWN}": "'.encode()}
"""By indent, what stands before the digest."""
_PARQUET_HEAD = 2
"""Bytes between a key and its value in Parquet's metadata: a type, and a length of 64."""
_EXPERIMENTS = "infwidth reproduce"
"""The command that writes measurements."""

ASIDE = ".damaged"
"""What the name of a file ends in that was set aside."""


class Damaged(Exception):
    """A file is not as it was written; the text says what shows it."""


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a map as JSON, whole or not at all; numbers that are not finite are null."""
    with replacing_file(path) as temporary:
        temporary.write_bytes(dump_json(content, indent=2) + b"\n")


def read_json(path: Path, made_by: str, keys: Iterable[str] = ()) -> Any:
    """Reads a JSON file that a command has written; one that is damaged is set aside.

    Raises:
      UserError: the file is missing, cannot be read, is damaged or lacks one of the keys.
    """
    try:
        value = load_json(path)
    except Damaged as damage:
        raise damaged(path, str(damage), made_by) from None
    except OSError as error:
        raise _unreadable(path, error, made_by) from None
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            raise damaged(path, f"no '{key}' in it", made_by)
    return value


def write_table(path: Path, table: "pd.DataFrame", of: str = "") -> None:
    """Writes a table without its index as Parquet, whole or not at all.

    A reader who names something else that the file is to be `of` finds it damaged.
    """
    import pyarrow
    from pyarrow import parquet

    arrow = pyarrow.Table.from_pandas(table, preserve_index=False)
    sink = io.BytesIO()
    with parquet.ParquetWriter(sink, arrow.schema) as writer:
        writer.write_table(arrow)
        writer.add_key_value_metadata({OWN: _BLANK.decode()})
    content = sink.getvalue()
    with replacing_file(path) as temporary:
        temporary.write_bytes(_sealed(content, content.rindex(_BLANK), of))


def load_table(path: Path, of: str = "") -> "pd.DataFrame":
    """Reads a Parquet file that `write_table` wrote.

    Raises:
      OSError: it is missing or cannot be read.
      Damaged: it is not as it was written.
    """
    import pandas as pd

    content = path.read_bytes()
    name = content.rfind(OWN.encode())
    if name >= 0:
        _check(content, name + len(OWN) + _PARQUET_HEAD, of)
    try:
        return pd.read_parquet(io.BytesIO(content))
    except (OSError, ValueError):  # pyarrow's own errors derive from these
        raise Damaged("not a readable Parquet file") from None


def read_table(path: Path, made_by: str) -> "pd.DataFrame":
    """Reads a Parquet file that a command has written; one that is damaged is set aside.

    Raises:
      UserError: it is missing, cannot be read or is damaged.
    """
    try:
        return load_table(path)
    except Damaged as damage:
        raise damaged(path, str(damage), made_by) from None
    except OSError as error:
        raise _unreadable(path, error, made_by) from None


def check(path: Path, made_by: str) -> None:
    """Checks a Parquet file, or a record, as of a figure, with those whose sha256 it lists.

    Raises:
      UserError: one is missing or damaged, and set aside.
    """
    if path.suffix == ".parquet":
        read_table(path, made_by)
    if path.suffix == ".json":
        record = read_json(path, made_by)
        listed = record.get("sha256", {}) if isinstance(record, dict) else None
        if not isinstance(listed, dict):
            raise damaged(path, "it is no record", made_by)
        for name, digest in listed.items():
            file = path.with_name(name)
            if not file.exists() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
                raise damaged(file, f"it is not what {path.name} tells of", made_by)


def load_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
      OSError: it is missing or cannot be read.
      Damaged: it is not as it was written.
    """
    return parse_json(path.read_bytes(), indent=2)


def dump_json(content: Mapping[str, Any], indent: int | None = None, of: str = "") -> bytes:
    """A map as JSON with its digest: a file's of many lines (indent 2), or one line.

    Numbers that are not finite become null. As for tables, a reader is to name the same `of`.
    """
    whole = {OWN: _BLANK.decode()} | {k: v for k, v in content.items() if k != OWN}
    text = json.dumps(finite(whole), indent=indent, ensure_ascii=indent is None).encode()
    return _sealed(text, len(_HEADS[indent]), of)


def parse_json(text: bytes, indent: int | None = None, of: str = "") -> Any:
    """What `dump_json` wrote, or other JSON.

    Raises:
      Damaged: it is not as it was written.
    """
    head = _HEADS[indent]
    checked = text.startswith(head) or _DIGEST.match(text, len(head))
    if checked:
        _check(text.removesuffix(b"\n"), len(head), of)
    try:
        value = json.loads(text.decode())
    except (ValueError, RecursionError):
        raise Damaged("not readable as JSON") from None
    if isinstance(value, dict) and OWN in value:
        if not checked:
            raise Damaged("its sha256 is not where it was written")
        del value[OWN]
    return value


def digest(path: Path) -> str:
    """The sha256 of a file of measurements, hexadecimal.

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


def read_columns(path: Path, columns: tuple[str, ...]) -> "pd.DataFrame":
    """A table of measurements that has these columns, and maybe others.

    Raises:
      UserError: it is missing or damaged, or lacks a column.
    """
    frame = read_table(path, _EXPERIMENTS)
    require(path, "the table", frame.columns, columns, "column")
    return frame


def read_record(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """A JSON object of measurements that has these keys, and maybe others.

    Raises:
      UserError: it is missing or damaged, or lacks a key.
    """
    value: dict[str, Any] = read_json(path, _EXPERIMENTS)
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


def damaged(path: Path, why: str, made_by: str) -> UserError:
    """Sets a damaged file aside; returns the error that says so, and what makes it anew."""
    return UserError(
        f"{path} is damaged ({why}), {set_aside(path)}: run `{made_by}`, or the workflow, again "
        f"{AS_BEFORE}"
        if not _is_published(path)
        else f"{path} is damaged ({why}): restore it, as by `git checkout`"
    )


def set_aside(path: Path) -> str:
    """Renames a file, over one that was set aside before, and says in words what was done."""
    aside = path.with_name(f"{path.name}{ASIDE}")
    try:
        path.replace(aside)
    except FileNotFoundError:
        return "and is gone"
    except OSError as error:
        return f"and cannot be set aside ({error.strerror}), so delete it"
    return f"set aside as {aside.name}"


def finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: both become null, however deep in lists and maps."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _unreadable(path: Path, error: OSError, made_by: str) -> UserError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return UserError(f"{path} is missing: run `{made_by}` first, {AS_BEFORE}")
    return UserError(
        f"{path}: cannot be read ({error.strerror}); it should be a file that `{made_by}` wrote"
    )


def _sealed(content: bytes, place: int, of: str) -> bytes:
    digest = hashlib.sha256(of.encode() + content).hexdigest().encode()
    return content[:place] + digest + content[place + len(digest) :]


def _check(content: bytes, place: int, of: str) -> None:
    blank = content[:place] + _BLANK + content[place + len(_BLANK) :]
    if _sealed(blank, place, of) != content:
        raise Damaged("its sha256 differs")


def _is_published(path: Path) -> bool:
    return PUBLISHED.resolve() in path.resolve().parents
