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

from infwidth.config.errors import AS_BEFORE, UserError
from infwidth.stored import ASIDE, set_aside

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


def check_files(manifest: Path, files: dict[str, Any], rule: str, verify: bool = False) -> None:
    """Checks files against what their manifest says; where one differs, the manifest is set aside.

    They are compared by size, and on request (`verify`) by sha256. The rule is what makes them.
    """
    for name, expected in files.items():
        path = manifest.parent / name
        if not path.is_file():
            raise damaged_file(manifest, path, "is missing", rule)
        size = path.stat().st_size
        if size != expected["bytes"]:
            why = f"is truncated or edited ({size} bytes for {expected['bytes']})"
            raise damaged_file(manifest, path, why, rule)
        if verify and file_digest(path) != expected["sha256"]:
            raise damaged_file(manifest, path, "is damaged (its sha256 differs)", rule)


def damaged_file(manifest: Path, path: Path, why: str, rule: str) -> UserError:
    """Sets aside what vouches for a damaged file, so that a plain rerun makes all of it anew.

    That is the manifest, and one in the file's own folder. Returns the error that says `why`.
    """
    done = [set_aside(each) for each in {manifest, path.parent / MANIFEST} if each.exists()]
    return UserError(
        f"{path} {why}, and its manifest {done[0] if done else 'is gone'}: run `{rule}`, or the "
        f"workflow, again {AS_BEFORE}"
    )


@contextlib.contextmanager
def replacing_folder(folder: Path, owned: frozenset[str]) -> Iterator[Path]:
    """Gives an empty folder to fill, which takes the place of `folder` if the block succeeds.

    A killed process leaves `folder` as it was, and a hidden sibling that the next call removes.
    The kernel's lock in that sibling tells a dead one from one that another process is filling. Of
    several makers the last one's result stays, or an earlier one's of the same manifest. A folder
    that holds anything but the `owned` names is someone's, and is not replaced.
    """
    folder = Path(os.path.abspath(folder))
    _check_is_ours(folder, owned)
    before = _identity(folder)
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
        while not _renamed(result, folder):
            if _identity(folder) != before and _same_manifest(result, folder):
                break
            _check_is_ours(folder, owned)
            # Another maker may be as far.
            with contextlib.suppress(FileNotFoundError):
                folder.rename(Path(tempfile.mkdtemp(prefix="replaced-", dir=partial)) / "folder")
    except (OSError, RuntimeError) as error:
        # TFDS raises what the system said as text in errors of other kinds.
        if not any(os.strerror(code) in str(error) for code in (errno.ENOSPC, errno.EDQUOT)):
            raise
        raise UserError(f"the disk of {folder} is full: free some space and run again") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        os.close(lock)
        _remove_if_empty(partial)


def _check_is_ours(folder: Path, owned: frozenset[str]) -> None:
    try:
        names = set(os.listdir(folder))
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise UserError(
            f"{folder} is a file, not a folder: choose another place for the output"
        ) from None
    foreign = sorted(name for name in names - owned - _LEFT_BY_OTHERS if not name.endswith(ASIDE))
    if foreign:
        raise UserError(f"{folder} holds {foreign[0]}, which was not made here: choose another")


def _identity(path: Path | int) -> tuple[int, int] | None:
    """Tells a file or folder from others of its name; None if there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _renamed(result: Path, folder: Path) -> bool:
    """Renames a folder, unless there is one of that name with something in it."""
    try:
        result.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _same_manifest(one: Path, other: Path) -> bool:
    try:
        return (one / MANIFEST).read_bytes() == (other / MANIFEST).read_bytes()
    except FileNotFoundError:
        return False


def _locked_folder(prefix: str, parent: Path) -> tuple[Path, int]:
    while True:
        partial = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        # Another process may take the newborn for a dead one before it is locked.
        with contextlib.suppress(FileNotFoundError):
            lock = _lock(partial, fcntl.LOCK_EX)
            if lock is not None:
                return partial, lock


def _remove_if_dead(partial: Path) -> None:
    # It may vanish, or be another user's.
    with contextlib.suppress(OSError):
        lock = _lock(partial, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if lock is not None:
            shutil.rmtree(partial, ignore_errors=True)
            os.close(lock)
            _remove_if_empty(partial)


def _remove_if_empty(partial: Path) -> None:
    # NFS keeps an open file, the lock, under another name, and so its folder, until it is closed.
    with contextlib.suppress(OSError):
        partial.rmdir()


def _lock(partial: Path, how: int) -> int | None:
    """Locks the file in `partial` that says who fills it; None if the file is gone by then."""
    path = partial / "lock"
    # A file, open for writing: on a folder NFS locks for this machine alone.
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, how)
        if _identity(lock) == _identity(path):
            return lock
    except OSError:
        os.close(lock)
        raise
    os.close(lock)
    return None
