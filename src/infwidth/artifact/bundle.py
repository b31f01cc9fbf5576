# SPDX-License-Identifier: Apache-2.0
"""One archive of all that is committed, the same bytes whenever and wherever it is packed.

Names are sorted; times are the commit's; owners and modes are fixed. Only the compression is up to
the zlib at hand: where two archives differ, their `SHA256SUMS` tell whether their files do.
"""

import gzip
import hashlib
import io
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from infwidth.atomic import replacing_file
from infwidth.config.errors import UserError
from infwidth.provenance import COMMIT, SUMS, commit, git, in_words, sha256

_LINK, _MODULE = "120000", "160000"


class Tree(NamedTuple):
    """What git tracks of a checkout."""

    commit: str  # in hexadecimal, with "-dirty" where something was edited
    time: int  # of the commit, in seconds since 1970
    modes: Mapping[str, str]  # by path, "100644" or "100755"


def read_tree(folder: Path, dirty: bool) -> Tree:
    """Looks at a checkout, given by its root; if `dirty`, tracked files count as they are.

    Raises:
        UserError: it is no checkout, or something in it is not committed, or it holds what cannot
            be packed.
    """
    try:
        top = Path(git(folder, "rev-parse", "--show-toplevel").decode().strip())
        changes = git(folder, "status", "--porcelain", "-z").decode().split("\0")
        tracked = git(folder, "ls-files", "--stage", "-z").decode().split("\0")
        time = int(git(folder, "log", "-1", "--format=%ct"))
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(
            "not a git checkout with a commit: a bundle is packed from one (an unpacked bundle is "
            f"one already); {in_words(error)}"
        ) from None
    if top.resolve() != folder.resolve():
        raise UserError(f"the git checkout around is {top}: run this at its root")
    if changes[0] and not dirty:
        raise UserError(f"not committed: {changes[0]}; commit it, or say --dirty to pack it as is")
    modes = {}
    for entry in filter(None, tracked):
        about, path = entry.split("\t")
        modes[path] = about.split()[0]
        if modes[path] in (_LINK, _MODULE):
            raise UserError(f"{path}: a link or a submodule, which a bundle does not hold")
        if path in (COMMIT, SUMS):
            raise UserError(f"{path} is committed, and a bundle writes its own: remove it")
    there = {path: mode for path, mode in modes.items() if (folder / path).is_file()}
    return Tree(commit(folder), time, there)


def pack(folder: Path, tree: Tree, name: str, out: Path) -> str:
    """Packs a tree, under a folder of that name, into `out`, a .tar.gz; returns its sha256."""
    contents = {path: (folder / path).read_bytes() for path in tree.modes}
    contents[COMMIT] = f"{tree.commit}\n".encode()
    sums = [f"{hashlib.sha256(contents[path]).hexdigest()}  {path}\n" for path in sorted(contents)]
    contents[SUMS] = "".join(sums).encode()
    with (
        replacing_file(out) as new,
        new.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=9, fileobj=raw, mtime=tree.time) as packed,
        # GNU's format has no headers of its own with times or process numbers in them.
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for path in sorted(contents):
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size, entry.mtime = len(contents[path]), tree.time
            entry.mode = 0o755 if tree.modes.get(path) == "100755" else 0o644
            archive.addfile(entry, io.BytesIO(contents[path]))
    return sha256(out)
