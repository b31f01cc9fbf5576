# SPDX-License-Identifier: Apache-2.0
"""Which commit this folder is, and which code, environment and machine made an output.

A folder is a git checkout, or a bundle, which has no git and says by itself which commit it is.
"""

import hashlib
import logging
import platform
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from infwidth.stored import OWN

MADE_BY = "made_by"
"""What an output's record keeps the code, environment and machine under."""
SHA256 = "sha256"

COMMIT = "COMMIT"
"""In a bundle: the file that names its commit. No checkout has one."""
SUMS = "SHA256SUMS"
"""In a bundle: the sha256 of every other file, as `sha256sum --check` reads it."""
UNKNOWN = "unknown"

_MODULES = {"scikit-learn": "sklearn"}
_HERE = Path(__file__)
_STAMP = "infwidth-lock.txt"
"""Left by envs/make_env.py in an environment; its first word is the name of the lock."""

_log = logging.getLogger(__name__)


def made_by(code: str, packages: Iterable[str], device: str | None = None) -> dict[str, Any]:
    """The record of the process that calls it.

    Args:
      code: digest of the code that made the output (`infwidth.code_digest`).
      packages: what its bytes depend on; those that are not installed are left out.
      device: what computed it, as JAX names it; None where nothing was computed by JAX.

    Returns:
      `code`; `commit` and `dirty` of the checkout, None outside of one; `lock` with its `name` and
      `sha256`, None in an environment that `make env` did not build; `software`, `python`,
      `machine` and `device`.
    """
    name, _, edited = code_commit().partition("-")
    known = name != UNKNOWN
    return {
        "code": code,
        "commit": name if known else None,
        "dirty": bool(edited) if known else None,
        "lock": _lock(),
        "software": versions(packages),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": device,
    }


def comparable(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what changes with the machine and with unrelated code."""
    return {key: value for key, value in record.items() if key not in (MADE_BY, SHA256, OWN)}


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of packages, without those that are not installed.

    Of what is imported it is that which was imported, and not what the environment lists.
    """
    found = {}
    for name in packages:
        module = sys.modules.get(_MODULES.get(name, name))
        with suppress(PackageNotFoundError):
            found[name] = module.__version__ if module else version(name)
    return found


def _lock() -> dict[str, str] | None:
    stamp = Path(sys.prefix) / _STAMP
    if not stamp.is_file():
        return None
    path = _HERE.parents[2] / "envs" / stamp.read_text(encoding="utf-8").split()[0]
    if not path.is_file():
        return None
    return {"name": path.name, "sha256": sha256(path)}


def code_commit() -> str:
    """The commit of the code that runs, as `commit` gives it; "unknown" if it is in no checkout."""
    root = _HERE.parents[2]
    if not (root / COMMIT).is_file():
        try:
            # A package that is installed below somebody else's checkout is not a part of that.
            git(_HERE.parent, "ls-files", "--error-unmatch", _HERE.name)
        except (OSError, subprocess.CalledProcessError) as error:
            _warn(root, in_words(error))
            return UNKNOWN
    return commit(root)


def commit(folder: Path) -> str:
    """The commit in hexadecimal, with "-dirty" where files were edited.

    Without one it is "unknown", which a warning says, with git's own advice.
    """
    if (folder / COMMIT).is_file():
        named = (folder / COMMIT).read_text(encoding="utf-8").strip()
        return named if named.endswith("-dirty") or not edited(folder) else f"{named}-dirty"
    try:
        described = git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError) as error:
        _warn(folder, in_words(error))
        return UNKNOWN
    return described.decode().strip()


def edited(folder: Path) -> list[str]:
    """The files of a bundle that are missing or are not what its sums say."""
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    listed = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    return [
        name
        for name, digest in listed.items()
        if not (folder / name).is_file() or sha256(folder / name) != digest
    ]


def git(folder: Path, *words: str) -> bytes:
    """What a git command prints.

    Raises:
        OSError: there is no git.
        subprocess.CalledProcessError: it failed, as outside a checkout.
    """
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, check=True).stdout


def in_words(error: OSError | subprocess.CalledProcessError) -> str:
    """Why git did not answer, in its own words, which say what to do about it."""
    said = error.stderr.decode() if isinstance(error, subprocess.CalledProcessError) else error
    return " ".join(str(said).split())


@cache
def _warn(folder: Path, reason: str) -> None:
    _log.warning("the commit of %s is unknown, and no record will name it: %s", folder, reason)


def sha256(path: Path) -> str:
    """The sha256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
