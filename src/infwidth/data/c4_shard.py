# SPDX-License-Identifier: Apache-2.0
"""Tokens of one shard of C4: a folder that appears whole or not at all, whoever makes it first.

C4's own validation shards are our validation and test: a document goes to one or the other by a
hash of its text, so that copies stay together. Training documents that are copies of a held-out
one are left out.
"""

import hashlib
import logging
from array import array
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from infwidth.code_digest import code_digest
from infwidth.config.errors import UserError
from infwidth.data.c4_catalogue import check_unchanged
from infwidth.data.c4_files import C4Shard
from infwidth.data.c4_read import read_shard
from infwidth.data.files import (
    MANIFEST,
    check_files,
    describe_files,
    file_digest,
    json_digest,
    replacing_folder,
)
from infwidth.data.listed import Listed, block_digests
from infwidth.data.tokens import array_header, token_type
from infwidth.data.vocabulary import Vocabulary
from infwidth.stored import read_json, write_json

RULE = "infwidth data tokenize"
HELD_OUT = ("validation", "test")
_HASHES, _HEADS = "hashes.npy", "heads.npy"
_ARRAYS = [f"{s}.{a}.npy" for s in ("train", *HELD_OUT) for a in ("tokens", "bounds", "rows")]
_OWNED = frozenset({MANIFEST, _HASHES, _HEADS, *_ARRAYS})
_SPACE = b" \t\n\r\v\f"
_HEAD = 48
"""Bytes of a text, without space, that tell nearly all texts apart."""
_BLOCK = 1024
_INT64 = np.dtype("<i8")
_LOG_EVERY = 20_000
_LOG = logging.getLogger(__name__)


def tokenize_shard(
    shard: C4Shard,
    form: Literal["json", "tfds"],
    text_key: str,
    split_seed: int,
    vocabulary: Vocabulary,
    held_out: Iterable[Path],
    cap: int | None,
    folder: Path,
) -> dict[str, Any]:
    """Makes the tokens of one shard, unless they are there already.

    Args:
        shard: the file.
        form: what kind of file.
        text_key: the key of the text in a row (json).
        split_seed: chooses which held-out documents are validation, which test.
        vocabulary: encodes.
        held_out: for a training shard, the folders made of C4's validation shards.
        cap: stop after the document with which the tokens are so many; None: read all.
        folder: what to make; a killed run leaves nothing there, and a rerun makes the same bytes.

    Returns:
        The shard's manifest: what it was made from, documents and tokens by split, what was left
        out, and every file with its sha256.

    Raises:
        UserError: the shard is damaged, or has changed since its tokens were made.
    """
    held = _HeldOut.of(held_out)
    made_from = {
        "vocabulary": vocabulary.digest,
        "text_key": text_key,
        "split_seed": split_seed,
        "held_out": hashlib.sha256(held.hashes.tobytes()).hexdigest(),
        "code": code_digest([__name__]),
    }
    check_unchanged(shard)
    source = {
        "file": shard.path.name,
        "bytes": shard.bytes,
        "sha256": file_digest(shard.path),
    }
    if manifest := _made_before(folder, made_from, cap, source, shard):
        return manifest
    with replacing_folder(folder, _OWNED) as result:
        packed = _pack(shard, form, text_key, split_seed, vocabulary, held, cap, result)
        check_unchanged(shard)
        manifest = {
            "kind": "token shard",
            "source": source,
            "made_from": made_from,
            "cap": cap,
            **packed,
            "files": describe_files(result),
            "blocks": {
                path.name: block_digests(path) for path in sorted(result.glob("*.tokens.npy"))
            },
        }
        write_json(result / MANIFEST, manifest)
    _LOG.info("tokens: %s, %s", shard.name, manifest["tokens"])
    return manifest


def shard_digest(manifest: dict[str, Any], split: str) -> str:
    """Returns the sha256 of all that a run can see of one split of a shard, in hexadecimal."""
    parts = (f"{split}.{array}.npy" for array in ("tokens", "bounds"))
    return json_digest([manifest["files"][part]["sha256"] for part in parts])


def _made_before(
    folder: Path,
    made_from: dict[str, Any],
    cap: int | None,
    source: dict[str, Any],
    shard: C4Shard,
) -> dict[str, Any] | None:
    if not (folder / MANIFEST).is_file():
        return None
    manifest = read_json(folder / MANIFEST, RULE, ("made_from", "source", "files", "tokens"))
    then = manifest["source"]
    if then["bytes"] != source["bytes"]:
        # The catalogue has this size, so someone has looked at it.
        return None
    if then != source:
        raise UserError(
            f"{shard.path} (sha256 {source['sha256'][:12]}…) is as large as what its tokens were "
            f"made of (sha256 {then['sha256'][:12]}…), but is not that: restore it, or delete "
            f"{folder} to take it as it is now"
        )
    whole = manifest["whole"] and (cap is None or sum(manifest["tokens"].values()) < cap)
    if manifest["made_from"] != made_from or not (manifest["cap"] == cap or whole):
        return None
    check_files(folder / MANIFEST, manifest["files"], RULE)
    return manifest


def _pack(
    shard: C4Shard,
    form: Literal["json", "tfds"],
    text_key: str,
    split_seed: int,
    vocabulary: Vocabulary,
    held: "_HeldOut",
    cap: int | None,
    folder: Path,
) -> dict[str, Any]:
    splits = ("train",) if shard.split == "train" else HELD_OUT
    left_out = {"empty": 0, "copies of held-out documents": 0}
    own_hashes, own_heads = array("Q"), array("Q")
    whole = True
    with ExitStack() as stack:
        writers = {s: stack.enter_context(_Writer(folder, s, vocabulary)) for s in splits}
        for row, text in _in_blocks(read_shard(shard, form, text_key)):
            head = _head(text)
            if not head:
                left_out["empty"] += 1
                continue
            if shard.split == "train":
                split = "train"
                if held.has(head, text):
                    left_out["copies of held-out documents"] += 1
                    continue
            else:
                plain = _plain(text)
                own_heads.append(_hash(b"", head))
                own_hashes.append(_hash(b"", plain))
                split = HELD_OUT[_hash(f"{split_seed}/".encode(), plain) % 2]
            writers[split].add(row, text)
            if row % _LOG_EVERY == 0:
                _LOG.info("tokens: %s, row %d", shard.name, row)
            if cap is not None and writers[split].length >= cap:
                whole = False
                break
    if shard.split == "validation":
        for name, own in ((_HASHES, own_hashes), (_HEADS, own_heads)):
            np.save(folder / name, np.unique(np.frombuffer(own, np.uint64)))
    return {
        "whole": whole,
        "tokens": {split: writer.length for split, writer in writers.items()},
        "documents": {split: writer.documents for split, writer in writers.items()},
        "left_out": left_out,
    }


def _in_blocks(rows: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    # Unpacking and encoding in turn, row by row, would drive each other out of the cache.
    while block := list(islice(rows, _BLOCK)):
        yield from block


class _HeldOut(NamedTuple):
    """Hashes of the held-out documents, ascending, and of their heads."""

    hashes: np.ndarray
    heads: frozenset[int]

    @classmethod
    def of(cls, folders: Iterable[Path]) -> "_HeldOut":
        some = list(folders)
        return cls(_hashes_in(_HASHES, some), frozenset(_hashes_in(_HEADS, some).tolist()))

    def has(self, head: bytes, text: str) -> bool:
        """Whether a text is a copy of one of them; most are told apart by their heads."""
        return _hash(b"", head) in self.heads and _holds(self.hashes, _hash(b"", _plain(text)))


class _Writer:
    """Writes documents of one split as they come, holding none of them in memory."""

    def __init__(self, folder: Path, split: str, vocabulary: Vocabulary):
        self._vocabulary = vocabulary
        self._type = token_type(vocabulary.size)
        self._bos = np.asarray([vocabulary.bos], self._type).tobytes()
        self._eos = np.asarray([vocabulary.eos], self._type).tobytes()
        self._tokens, self._bounds, self._rows = (
            _Array(folder / f"{split}.{name}.npy", dtype)
            for name, dtype in (("tokens", self._type), ("bounds", _INT64), ("rows", _INT64))
        )
        self._bounds.append(_int64(0), 1)
        self.length = 0
        self.documents = 0

    def __enter__(self) -> "_Writer":
        return self

    def add(self, row: int, text: str) -> None:
        ids = self._vocabulary.encode(text).astype(self._type)
        self._tokens.append(b"".join((self._bos, ids.data, self._eos)), len(ids) + 2)
        self.length += len(ids) + 2
        self.documents += 1
        self._bounds.append(_int64(self.length), 1)
        self._rows.append(_int64(row), 1)

    def __exit__(self, *_: object) -> None:
        # Each is closed, though another's last bytes find no room.
        with self._tokens, self._bounds, self._rows:
            pass


class _Array:
    """A .npy file of one axis that grows."""

    def __init__(self, path: Path, dtype: np.dtype):
        self._file = path.open("wb")
        self._type = dtype
        self._length = 0
        self._file.write(array_header(dtype, 0))

    def append(self, content: bytes, length: int) -> None:
        self._file.write(content)
        self._length += length

    def __enter__(self) -> "_Array":
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._file.seek(0)
            self._file.write(array_header(self._type, self._length))


def _int64(value: int) -> bytes:
    return value.to_bytes(8, "little", signed=True)


def _plain(text: str) -> bytes:
    """A text as copies are compared: in lower case (of ASCII), without space."""
    return text.encode().lower().translate(None, _SPACE)


def _head(text: str) -> bytes:
    """The first bytes of `_plain(text)`, without making all of it."""
    cut = 2 * _HEAD
    while len(plain := _plain(text[:cut])) < _HEAD and cut < len(text):
        cut *= 2
    return plain[:_HEAD]


def _hash(salt: bytes, plain: bytes) -> int:
    return int.from_bytes(hashlib.sha256(salt + plain).digest()[:8], "little")


def _holds(sorted_hashes: np.ndarray, value: int) -> bool:
    place = int(np.searchsorted(sorted_hashes, np.uint64(value)))
    return place < len(sorted_hashes) and int(sorted_hashes[place]) == value


def _hashes_in(name: str, folders: Iterable[Path]) -> np.ndarray:
    manifests = [folder / MANIFEST for folder in folders]
    listed = [Listed(path, read_json(path, RULE, ("files",)), RULE) for path in manifests]
    arrays = [each.array(name) for each in listed]
    return np.sort(np.concatenate([np.zeros(0, np.uint64), *arrays]))
