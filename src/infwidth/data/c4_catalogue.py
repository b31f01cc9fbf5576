# SPDX-License-Identifier: Apache-2.0
"""The catalogue: which shards of C4 a configuration is built on, and how large each was then.

It stands where another corpus's manifest stands, so that a file that has changed since is noticed
and named, not read.
"""

import os
from pathlib import Path
from typing import Any

from infwidth.config.errors import UserError
from infwidth.config.settings import DataSettings
from infwidth.data.c4_files import C4Files, C4Shard
from infwidth.data.files import MANIFEST, json_digest, replacing_folder
from infwidth.stored import read_json, write_json

RULE = "infwidth data corpus"
KIND = "c4"


def write_catalogue(files: C4Files, settings: DataSettings, folder: Path) -> dict[str, Any]:
    """Writes what was found, names and sizes, as the corpus's manifest.

    Args:
        files: the shards.
        settings: `c4.config`.
        folder: what to make.

    Returns:
        The manifest.
    """
    shards = [*files.train, *files.validation]
    manifest = {
        "kind": KIND,
        "corpus": f"c4/{settings.c4.config}",
        "form": files.form,
        "folder": files.folder.as_posix(),
        "statement": {
            "text": f"C4 ({settings.c4.config}): English web text of April 2019",
            "source": "allenai/c4" if files.form == "json" else "TensorFlow Datasets c4 3.0.1",
            "licence": "ODC-BY; the pages are also under Common Crawl's terms of use",
        },
        "digest": json_digest([[shard.name, shard.bytes] for shard in shards]),
        "shards": {shard.name: {"file": shard.path.name, "bytes": shard.bytes} for shard in shards},
        "files": {},
    }
    with replacing_folder(folder, frozenset({MANIFEST})) as result:
        write_json(result / MANIFEST, manifest)
    return manifest


def is_catalogue(folder: Path) -> bool:
    """Whether the corpus in a folder is C4.

    Raises:
        UserError: there is no corpus, or it is damaged.
    """
    return read_json(folder / MANIFEST, RULE, ("kind",))["kind"] == KIND


def check_against_catalogue(files: C4Files, folder: Path) -> dict[str, Any]:
    """Compares the shards with what they were when the catalogue was written.

    Args:
        files: the shards as they are; ones that the catalogue does not know are let be.
        folder: the catalogue's.

    Returns:
        The catalogue.

    Raises:
        UserError: one is gone, has grown or has shrunk; it names the first.
    """
    manifest = read_json(folder / MANIFEST, RULE, ("shards", "digest", "statement"))
    now = {shard.name: shard for shard in [*files.train, *files.validation]}
    for name, then in manifest["shards"].items():
        if name not in now:
            raise UserError(
                f"{files.folder / then['file']} is gone, which {folder / MANIFEST} lists: restore "
                f"it, or {_accept(folder)}"
            )
        if now[name].bytes != then["bytes"]:
            change = "grown" if now[name].bytes > then["bytes"] else "shrunk"
            raise UserError(
                f"{now[name].path} has {change} from {then['bytes']} to {now[name].bytes} bytes "
                f"since it was first seen: restore it, or {_accept(folder)}"
            )
    return manifest


def check_unchanged(shard: C4Shard) -> None:
    """Checks that a shard is as large as when it was found, before this process read it.

    Raises:
        UserError: it has grown or shrunk.
    """
    size = os.path.getsize(shard.path)
    if size != shard.bytes:
        change = "grown" if size > shard.bytes else "shrunk"
        raise UserError(
            f"{shard.path} has {change} from {shard.bytes} to {size} bytes while it was read: "
            "finish the download, then run again"
        )


def _accept(folder: Path) -> str:
    return (
        f"to take the files as they are now, delete {folder / MANIFEST} and run again (runs on "
        "other tokens are trained anew)"
    )
