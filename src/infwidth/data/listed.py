# SPDX-License-Identifier: Apache-2.0
"""Files that a manifest lists, checked as they are read: whole, or tokens block by block."""

import hashlib
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from infwidth.config.errors import UserError
from infwidth.data.files import damaged_file, file_digest

BLOCK = 2**20
"""Bytes of a file of tokens that are checked together."""


def block_digests(path: Path) -> list[str]:
    """The first 16 hexadecimal digits of each block's sha256."""
    with path.open("rb") as file:
        return [_digest(block) for block in iter(lambda: file.read(BLOCK), b"")]


class Listed(NamedTuple):
    """The files of a manifest: its path, what it says, and the command that makes them.

    It lists `files`, named relative to its folder, with their sha256, and of tokens the `blocks`.
    If a file is missing or damaged, the manifest is set aside, and the error names the command.
    """

    manifest: Path
    content: dict[str, Any]
    rule: str

    def read(self, name: str) -> bytes:
        """A file's bytes."""
        path = self.manifest.parent / name
        content = path.read_bytes() if path.is_file() else None
        if content is None:
            raise self._damaged(name, "is missing")
        if hashlib.sha256(content).hexdigest() != self.content["files"][name]["sha256"]:
            raise self._damaged(name, "is damaged (its sha256 differs)")
        return content

    def array(self, name: str) -> np.ndarray:
        """An array, in memory."""
        array: np.ndarray = np.load(io.BytesIO(self.read(name)))
        return array

    def tokens(self, name: str) -> "CheckedTokens":
        """An array of one axis that is read and checked block by block."""
        return CheckedTokens(self, name)

    def _damaged(self, name: str, why: str) -> UserError:
        return damaged_file(self.manifest, self.manifest.parent / name, why, self.rule)


class CheckedTokens:
    """A memory-mapped array of one axis; each block of its file is checked before it is first used.

    An earlier version's file has no digests of blocks: all of it is checked at once.
    """

    def __init__(self, listed: Listed, name: str):
        self._listed, self._name = listed, name
        path = listed.manifest.parent / name
        if not path.is_file():
            raise listed._damaged(name, "is missing")
        self._bytes = np.memmap(path, np.uint8, "r")
        self._digests = listed.content.get("blocks", {}).get(name)
        if self._digests is None and file_digest(path) != listed.content["files"][name]["sha256"]:
            raise listed._damaged(name, "is damaged (its sha256 differs)")
        self._unchecked = set(range(len(self._digests or ())))
        # With the head, which says what the rest is.
        self._check([0])
        self._array = np.load(path, mmap_mode="r")
        self.dtype, self.shape = self._array.dtype, self._array.shape

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, index: Any) -> np.ndarray:
        """Reads some tokens, by integers of any shape or a slice."""
        if self._unchecked:
            some = np.arange(len(self))[index] if isinstance(index, slice) else np.asarray(index)
            places = (self._array.offset + some * self.dtype.itemsize) // BLOCK
            self._check(np.unique(places).tolist())
        read: np.ndarray = self._array[index]
        return read

    def _check(self, blocks: list[int]) -> None:
        for number in self._unchecked.intersection(blocks):
            if _digest(self._bytes[number * BLOCK : (number + 1) * BLOCK]) != self._digests[number]:
                raise self._listed._damaged(self._name, f"is damaged (in its MiB {number})")
            self._unchecked.discard(number)


def _digest(block: Any) -> str:
    return hashlib.sha256(block).hexdigest()[:16]
