# SPDX-License-Identifier: Apache-2.0
"""Tokens of C4: a folder for each shard, and one manifest of all shards that are read.

C4's own validation shards are our validation and test: a document goes to one or the other by a
hash of its text, so that copies stay together. Training documents that are copies of a held-out
one are left out. A shard's folder appears whole or not at all, whoever makes it first.
"""

import hashlib
import logging
import os
import shutil
from array import array
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from infwidth.code_digest import code_digest
from infwidth.config.errors import UserError
from infwidth.config.settings import DataSettings
from infwidth.data import vocabulary as vocabularies
from infwidth.data.c4 import C4Files, C4Shard, check_against_catalogue, check_unchanged, read_shard
from infwidth.data.files import (
    MANIFEST,
    check_files,
    describe_files,
    file_digest,
    json_digest,
    replacing_folder,
)
from infwidth.data.listed import Listed, block_digests
from infwidth.data.splits import SPLITS
from infwidth.data.tokens import array_header, token_type
from infwidth.stored import read_json, write_json

RULE = "infwidth data tokenize"
_HELD_OUT = ("validation", "test")
_HASHES, _HEADS = "hashes.npy", "heads.npy"
_ARRAYS = [f"{split}.{part}.npy" for split in SPLITS for part in ("tokens", "bounds", "rows")]
_OWNED_BY_SHARD = frozenset({MANIFEST, _HASHES, _HEADS, *_ARRAYS})
_OWNED = frozenset({MANIFEST, *vocabularies.FILES})
_SPACE = b" \t\n\r\v\f"
_HEAD = 48
"""Bytes of a text, without space, that tell nearly all texts apart."""
_BLOCK = 1024
_INT64 = np.dtype("<i8")
_LOG_EVERY = 20_000
_LOG = logging.getLogger(__name__)


class ShardMaker:
    """Makes tokens of shards, each in a folder of its name, under one set of settings.

    The budget is the tokens of training text wanted, where `c4.train_shards` does not say how much.
    """

    def __init__(
        self,
        files: C4Files,
        catalogue: Path,
        vocabulary: Path,
        data: DataSettings,
        budget: int,
        folder: Path,
    ):
        self.catalogue = check_against_catalogue(files, catalogue)
        self.files = files
        self.folder = folder
        self.budget = budget
        self.train_shards = data.c4.train_shards
        self._data = data
        self._vocabulary = vocabularies.load_vocabulary(vocabulary)

    def make(self, shard: C4Shard) -> dict[str, Any]:
        """Returns the manifest of a shard's tokens, which are made if they are not there.

        A training shard needs those of all validation shards, so these are made first.
        """
        train = shard.split == "train"
        held_out = self.files.validation if train else []
        for other in held_out:
            if not (self.folder / other.name / MANIFEST).is_file():
                self.make(other)
        return tokenize_shard(
            shard,
            self._data,
            self._vocabulary,
            [self.folder / other.name for other in held_out],
            self.budget if train and self.train_shards is None else None,
            self.folder / shard.name,
        )

    def shard(self, name: str) -> C4Shard:
        """Finds a shard by its name."""
        known = self.files.named
        if name not in known:
            raise UserError(f"{self.files.folder} has no shard {name}: name one as in train-00003")
        return known[name]


def join_shards(maker: ShardMaker, vocabulary_folder: Path, folder: Path) -> dict[str, Any]:
    """Makes the shards that are missing, in turn, and the manifest of all that are read.

    Training shards are taken from the first on, as many as `c4.train_shards` says or until their
    tokens meet the budget, whichever shards were made meanwhile. `folder` gets the manifest, in the
    form that `tokenize` writes, and a copy of the vocabulary; `shards` says where the tokens lie.
    """
    held_out = [(shard, maker.make(shard)) for shard in maker.files.validation]
    train = _training_shards(maker)
    made = {"train": train, **dict.fromkeys(_HELD_OUT, held_out)}
    documents = {s: sum(m["documents"][s] for _, m in made[s]) for s in SPLITS}
    for split, count in documents.items():
        if not count:
            raise UserError(f"{maker.files.folder}: no document for {split}: add shards")
    description = vocabularies.read_description(vocabulary_folder)
    parent = Path(os.path.relpath(maker.folder, folder))
    places = [((parent / shard.name).as_posix(), m) for shard, m in [*held_out, *train]]

    def listed(key: str) -> dict[str, Any]:
        return {f"{place}/{name}": about for place, m in places for name, about in m[key].items()}

    with replacing_folder(folder, _OWNED) as result:
        vocabularies.write_description(result, description)
        for name in description["files"]:
            shutil.copyfile(vocabulary_folder / name, result / name)
        digests = {split: [_digest(m, split) for _, m in made[split]] for split in SPLITS}
        manifest = {
            "kind": "tokens",
            "digest": json_digest([description["digest"], digests]),
            "tokens": {s: sum(m["tokens"][s] for _, m in made[s]) for s in SPLITS},
            "documents": documents,
            "left_out": {
                key: sum(m["left_out"][key] for _, m in places) for key in places[0][1]["left_out"]
            },
            "vocabulary": {
                key: description[key] for key in ("kind", "size", "bos", "eos", "digest")
            },
            "corpus": {key: maker.catalogue[key] for key in ("corpus", "digest", "statement")},
            "shards": {
                split: [
                    {"folder": (parent / shard.name).as_posix(), "file": shard.path.name}
                    for shard, _ in made[split]
                ]
                for split in SPLITS
            },
            "files": describe_files(result) | listed("files"),
            "blocks": listed("blocks"),
        }
        write_json(result / MANIFEST, manifest)
    return manifest


def _training_shards(maker: ShardMaker) -> list[tuple[C4Shard, dict[str, Any]]]:
    fixed = maker.train_shards
    made: list[tuple[C4Shard, dict[str, Any]]] = []
    tokens = 0
    for shard in maker.files.train[:fixed]:
        manifest = maker.make(shard)
        made.append((shard, manifest))
        tokens += manifest["tokens"]["train"]
        if fixed is None and tokens >= maker.budget:
            return made
    if fixed is None:
        raise UserError(
            f"the {len(made)} training shards of {maker.files.folder} hold {tokens} tokens, and "
            f"the largest run reads {maker.budget}: add shards, or set data.c4.train_shards "
            f"(to {len(made)}, say) to read them more than once"
        )
    return made


def _digest(manifest: dict[str, Any], split: str) -> str:
    """The sha256 of all that a run can see of one split of a shard."""
    parts = (f"{split}.{part}.npy" for part in ("tokens", "bounds"))
    return json_digest([manifest["files"][part]["sha256"] for part in parts])


def tokenize_shard(
    shard: C4Shard,
    data: DataSettings,
    vocabulary: vocabularies.Vocabulary,
    held_out: Iterable[Path],
    cap: int | None,
    folder: Path,
) -> dict[str, Any]:
    """Makes the tokens of one shard, unless they are there already; returns their manifest.

    A training shard needs `held_out`, the folders made of C4's validation shards. With a `cap` it
    ends after the document with which its tokens are so many. A killed run leaves nothing in
    `folder`, and a rerun makes the same bytes.
    """
    held = _HeldOut.of(held_out)
    made_from = {
        "vocabulary": vocabulary.digest,
        "text_key": data.text_key,
        "split_seed": data.split_seed,
        "held_out": hashlib.sha256(held.hashes.tobytes()).hexdigest(),
        "code": code_digest([f"{__name__}.tokenize_shard"]),
    }
    check_unchanged(shard)
    digest = file_digest(shard.path)
    source = {"file": shard.path.name, "bytes": shard.bytes, "sha256": digest}
    if manifest := _made_before(folder, made_from, cap, source, shard):
        return manifest
    with replacing_folder(folder, _OWNED_BY_SHARD) as result:
        packed = _pack(shard, data, vocabulary, held, cap, result)
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
    data: DataSettings,
    vocabulary: vocabularies.Vocabulary,
    held: "_HeldOut",
    cap: int | None,
    folder: Path,
) -> dict[str, Any]:
    splits = ("train",) if shard.split == "train" else _HELD_OUT
    left_out = {"empty": 0, "copies of held-out documents": 0}
    own_hashes, own_heads = array("Q"), array("Q")
    whole = True
    with ExitStack() as stack:
        writers = {split: _Writer(stack, folder, split, vocabulary) for split in splits}
        for row, text in _in_blocks(read_shard(shard, data.text_key)):
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
                split = _HELD_OUT[_hash(f"{data.split_seed}/".encode(), plain) % 2]
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
        manifests = [folder / MANIFEST for folder in folders]
        listed = [Listed(path, read_json(path, RULE, ("files",)), RULE) for path in manifests]
        hashes, heads = (
            np.concatenate([np.zeros(0, np.uint64), *(each.array(name) for each in listed)])
            for name in (_HASHES, _HEADS)
        )
        return cls(np.sort(hashes), frozenset(heads.tolist()))

    def has(self, head: bytes, text: str) -> bool:
        """Whether a text is a copy of one of them; most are told apart by their heads."""
        if _hash(b"", head) not in self.heads:
            return False
        value = _hash(b"", _plain(text))
        place = int(np.searchsorted(self.hashes, np.uint64(value)))
        return place < len(self.hashes) and int(self.hashes[place]) == value


class _Writer:
    """Writes documents of one split as they come, holding none of them in memory."""

    def __init__(
        self, stack: ExitStack, folder: Path, split: str, vocabulary: vocabularies.Vocabulary
    ):
        self._vocabulary = vocabulary
        self._type = token_type(vocabulary.size)
        self._bos = np.asarray([vocabulary.bos], self._type).tobytes()
        self._eos = np.asarray([vocabulary.eos], self._type).tobytes()
        self._tokens, self._bounds, self._rows = (
            stack.enter_context(_growing_array(folder / f"{split}.{name}.npy", dtype))
            for name, dtype in (("tokens", self._type), ("bounds", _INT64), ("rows", _INT64))
        )
        self._bounds.write(bytes(_INT64.itemsize))
        self.length = 0
        self.documents = 0

    def add(self, row: int, text: str) -> None:
        ids = self._vocabulary.encode(text).astype(self._type)
        self._tokens.write(b"".join((self._bos, ids.data, self._eos)))
        self.length += len(ids) + 2
        self.documents += 1
        self._bounds.write(self.length.to_bytes(_INT64.itemsize, "little"))
        self._rows.write(row.to_bytes(_INT64.itemsize, "little"))


@contextmanager
def _growing_array(path: Path, dtype: np.dtype) -> Iterator[BinaryIO]:
    """Gives a .npy file of one axis to append values to; its head counts them in the end."""
    with path.open("wb") as file:
        file.write(array_header(dtype, 0))
        start = file.tell()
        yield file
        length = (file.tell() - start) // dtype.itemsize
        file.seek(0)
        file.write(array_header(dtype, length))


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
