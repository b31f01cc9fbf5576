# SPDX-License-Identifier: Apache-2.0
"""Which commit this folder is: of a git checkout, or of a bundle, which has no git."""

import hashlib
import logging
import subprocess
from functools import cache
from pathlib import Path

COMMIT = "COMMIT"
"""In a bundle: the file that names its commit. No checkout has one."""

SUMS = "SHA256SUMS"
"""In a bundle: the sha256 of every other file, as `sha256sum --check` reads it."""

UNKNOWN = "unknown"

_log = logging.getLogger(__name__)


def code_commit() -> str:
    """The commit of the code that runs, as `commit` gives it; "unknown" if it is in no checkout."""
    here = Path(__file__)
    root = here.parents[2]
    if not (root / COMMIT).is_file():
        try:
            # A package that is installed below somebody else's checkout is not a part of that.
            git(here.parent, "ls-files", "--error-unmatch", here.name)
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
    listed = ((folder / name, digest) for digest, name in (line.split("  ", 1) for line in lines))
    return [
        path.relative_to(folder).as_posix()
        for path, digest in listed
        if not path.is_file() or sha256(path) != digest
    ]


def sha256(path: Path) -> str:
    """The sha256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def in_words(error: OSError | subprocess.CalledProcessError) -> str:
    """Why git did not answer, in its own words, which say what to do about it."""
    said = error.stderr.decode() if isinstance(error, subprocess.CalledProcessError) else error
    return " ".join(str(said).split())


@cache
def _warn(folder: Path, reason: str) -> None:
    _log.warning("the commit of %s is unknown, and no record will name it: %s", folder, reason)


def git(folder: Path, *words: str) -> bytes:
    """What a git command prints.

    Raises:
        OSError: there is no git.
        subprocess.CalledProcessError: it failed, as outside a checkout.
    """
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, check=True).stdout
