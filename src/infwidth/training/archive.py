# SPDX-License-Identifier: Apache-2.0
"""Finished runs as one small file: what they are, what they measured, and no checkpoints.

An archive is a tar.xz of one JSON file a run, named by its key, after an index of their sha256. The
same runs are the same bytes, whenever and wherever they are packed.
"""

import hashlib
import io
import json
import lzma
import tarfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from infwidth.atomic import disk_errors, replacing_file
from infwidth.config.errors import UserError
from infwidth.training.records import RESULT, LostRun, Record, read_record, write_record
from infwidth.training.runs import if_free
from infwidth.training.spec import key_of

_INDEX = "index.json"


class Imported(NamedTuple):
    """Runs of an archive: written, there already, and in training here; the last two are left."""

    new: int
    known: int
    busy: int


def export_runs(folder: Path, archive: Path, keys: Collection[str] | None = None) -> int:
    """Packs the finished runs of a folder, all or those of some keys; returns how many there are.

    Raises:
      UserError: there is none, or one of `keys` is not finished.
      LostRun: the record of a finished run is damaged.
    """
    names = {path.name for path in folder.glob("*")} if keys is None else set(keys)
    found = {name: read_record(folder / name) for name in sorted(names)}
    for name, record in found.items():
        if record is None and (folder / name / RESULT).exists():
            raise LostRun(folder / name)
    records = {name: record for name, record in found.items() if record is not None}
    if keys is not None and len(records) < len(found):
        missing = next(name for name in found if name not in records)
        raise UserError(f"{folder / missing}: no finished run; run `make reproduce` to its end")
    if not records:
        raise UserError(f"{folder}: no finished run to export")
    contents = {key: _json(record._asdict()) for key, record in records.items()}
    index = {key: hashlib.sha256(content).hexdigest() for key, content in contents.items()}
    members = {_INDEX: _json(index)} | {f"{key}.json": contents[key] for key in contents}
    buffer = io.BytesIO()
    # GNU's format has no headers of its own with times or process numbers in them.
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    with replacing_file(archive) as temporary:
        temporary.write_bytes(lzma.compress(buffer.getvalue()))
    return len(records)


def import_runs(archive: Path, folder: Path) -> Imported:
    """Unpacks the runs that are not finished here; all is checked before anything is written.

    Raises:
      UserError: the archive is missing or damaged, or holds a run under another's key.
    """
    new = known = busy = 0
    for key, record in _read(archive).items():
        with disk_errors(folder):
            (folder / key).mkdir(parents=True, exist_ok=True)
        with if_free(folder / key) as free:
            if not free:
                busy += 1
            elif read_record(folder / key) is not None:
                known += 1
            else:
                write_record(folder / key, record)
                new += 1
    return Imported(new, known, busy)


def _read(archive: Path) -> dict[str, Record]:
    try:
        content = archive.read_bytes()
    except OSError as error:
        raise UserError(f"{archive}: cannot be read ({error.strerror})") from None
    try:
        # All at once, and not as a stream, which would end before the checksums at the end.
        with tarfile.open(fileobj=io.BytesIO(lzma.decompress(content)), mode="r:") as tar:
            contents = {m.name: file.read() for m in tar if (file := tar.extractfile(m))}
        index = json.loads(contents.pop(_INDEX))
        digests = {f"{key}.json": digest for key, digest in index.items()}
        if digests != {name: hashlib.sha256(c).hexdigest() for name, c in contents.items()}:
            raise ValueError("its index is of other files")
        records = {key: Record(**json.loads(contents[f"{key}.json"])) for key in index}
        for key, record in records.items():
            if not key_of(record.settings) == record.result["key"] == key:
                raise ValueError(f"{key} is another run's key")
    except (lzma.LZMAError, tarfile.TarError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise UserError(
            f"{archive} is damaged, or no archive of runs ({e}): get it again; nothing was imported"
        ) from None
    return records


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
