# SPDX-License-Identifier: Apache-2.0
"""Folders that appear whole or not at all, and the manifests that say what they hold."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infwidth.config.errors import UserError

MANIFEST = "manifest.json"
# Snakemake marks the folders that its rules make.
_LEFT_BY_OTHERS = frozenset({".snakemake_timestamp", ".DS_Store"})


def file_digest(path: Path) -> str:
    """Returns the sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_digest(value: Any) -> str:
    """Returns the sha256 of a JSON value written canonically, in hexadecimal."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns size in bytes and sha256 of every file below a folder, by relative path, sorted."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": file_digest(path),
        }
        for path in paths
    }


def check_files(folder: Path, files: dict[str, Any], rule: str, verify: bool = False) -> None:
    """Checks the files of a folder against what its manifest says.

    Args:
        folder: where they lie.
        files: relative path -> {"bytes", "sha256"}, as `describe_files` returns it.
        rule: what makes them, named in the error.
        verify: compare sha256 too, not just sizes.

    Raises:
        UserError: a file is missing or differs.
    """
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path} is missing: run `{rule}` again")
        size = path.stat().st_size
        if size != expected["bytes"]:
            raise UserError(
                f"{path} has {size} bytes where its manifest says {expected['bytes']}: "
                f"it is truncated or edited; run `{rule}` again"
            )
        if verify and file_digest(path) != expected["sha256"]:
            raise UserError(
                f"{path} is not the file that its manifest describes (sha256 differs): "
                f"run `{rule}` again"
            )


@contextlib.contextmanager
def replacing_folder(folder: Path, owned: frozenset[str]) -> Iterator[Path]:
    """Gives an empty folder to fill, which takes the place of `folder` if the block succeeds.

    A killed process leaves `folder` as it was, and a hidden sibling that the next call removes.
    The kernel's lock on that sibling tells a dead one from one that another process is filling.

    Args:
        folder: what to create or replace.
        owned: names that an earlier result may hold; a folder that holds anything else is
            someone's, and is not replaced.

    Yields:
        The folder to fill, on the same file system.

    Raises:
        UserError: `folder` is not ours to replace, or the disk is full.
    """
    folder = Path(os.path.abspath(folder))
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, not a folder: choose another place for the output")
    foreign = sorted(set(os.listdir(folder)) - owned - _LEFT_BY_OTHERS) if folder.exists() else []
    if foreign:
        raise UserError(f"{folder} holds {foreign[0]}, which was not made here: choose another")
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}.partial-"
    for sibling in list(folder.parent.iterdir()):
        if sibling.name.startswith(prefix):
            _remove_if_dead(sibling)
    partial, lock = _locked_folder(prefix, folder.parent)
    try:
        result = partial / "result"
        result.mkdir()
        yield result
        if folder.exists():
            folder.rename(partial / "replaced")
        result.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(f"the disk of {folder} is full: free some space and run again") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        os.close(lock)


def _locked_folder(prefix: str, parent: Path) -> tuple[Path, int]:
    while True:
        partial = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        # Another process may take the newborn for a dead one before it is locked.
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(partial, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if partial.exists():
                return partial, lock
            os.close(lock)


def _remove_if_dead(partial: Path) -> None:
    try:
        lock = os.open(partial, os.O_RDONLY)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(partial, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(lock)
