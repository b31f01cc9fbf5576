# SPDX-License-Identifier: Apache-2.0
"""Which code, environment and machine made an output: what its record keeps under `MADE_BY`."""

import platform
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from infwidth.checkout import UNKNOWN, code_commit, sha256
from infwidth.stored import OWN

MADE_BY = "made_by"
SHA256 = "sha256"

_MODULES = {"scikit-learn": "sklearn"}

_HERE = Path(__file__).parent
_STAMP = "infwidth-lock.txt"
"""Left by envs/make_env.py in an environment; its first word is the name of the lock."""


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
    named, dirty = checkout()
    return {
        "code": code,
        "commit": named,
        "dirty": dirty,
        "lock": _lock(),
        "software": versions(packages),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": device,
    }


def comparable(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what changes with the machine and with unrelated code."""
    return {key: value for key, value in record.items() if key not in (MADE_BY, SHA256, OWN)}


def checkout() -> tuple[str | None, bool | None]:
    """The commit that this code is checked out at, and whether tracked files were edited since.

    (None, None) for code that is in no repository of its own, such as an installed package. A
    bundle has no git, and says by itself which commit it is.
    """
    name, _, edited = code_commit().partition("-")
    return (None, None) if name == UNKNOWN else (name, bool(edited))


def _lock() -> dict[str, str] | None:
    stamp = Path(sys.prefix) / _STAMP
    if not stamp.is_file():
        return None
    path = _HERE.parents[1] / "envs" / stamp.read_text(encoding="utf-8").split()[0]
    if not path.is_file():
        return None
    return {"name": path.name, "sha256": sha256(path)}


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
