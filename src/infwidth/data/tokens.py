# SPDX-License-Identifier: Apache-2.0
"""Tokens on disk: each split's documents as BOS ... EOS, end to end, in one memory-mapped array."""

import io
import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from infwidth.data import vocabulary as vocabularies
from infwidth.data.files import (
    MANIFEST,
    check_files,
    describe_files,
    json_digest,
    replacing_folder,
)
from infwidth.data.listed import Listed, block_digests
from infwidth.data.splits import SPLITS
from infwidth.stored import read_json, write_json

if TYPE_CHECKING:
    from infwidth.data.corpus import PreparedDocuments

RULE = "infwidth data tokenize"
_ARRAYS = [f"{split}.{part}.npy" for split in SPLITS for part in ("tokens", "bounds")]
_NAMES = [f"{split}.names.jsonl" for split in SPLITS]
_OWNED = frozenset({MANIFEST, *_ARRAYS, *_NAMES, *vocabularies.FILES})
_LOG_EVERY = 10_000
_LOG = logging.getLogger(__name__)


class TokenSplit(NamedTuple):
    """The tokens of one split.

    Attributes:
        name: `train`, `validation` or `test`.
        tokens: unsigned ids, [tokens], memory-mapped.
        bounds: int64, [documents + 1]; document i is tokens[bounds[i] : bounds[i + 1]], marks and
            all.
        names_path: a file with one JSON string a line, the documents' names.
    """

    name: str
    tokens: np.ndarray
    bounds: np.ndarray
    names_path: Path

    def document_names(self) -> Sequence[str]:
        """Returns the names of the documents, in order."""
        folder = self.names_path.parent
        names = TokenDataset.open(folder).listed.read(self.names_path.name)
        return [json.loads(line) for line in names.decode().splitlines()]


class TokenDataset(NamedTuple):
    """Tokens of all splits and what they are made of.

    Attributes:
        folder: where they lie.
        digest: sha256 of all that training can see of them, in hexadecimal.
        vocabulary_size: ids are below it.
        manifest: what manifest.json says.
    """

    folder: Path
    digest: str
    vocabulary_size: int
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> "TokenDataset":
        """Opens tokens; their digests are checked as they are read.

        Args:
            folder: what `tokenize` has made.

        Returns:
            The data set; its arrays are not open yet.

        Raises:
            UserError: the manifest is missing or damaged, or a file is missing or truncated.
        """
        folder = Path(folder)
        manifest = read_json(folder / MANIFEST, RULE, ("files", "digest", "vocabulary"))
        check_files(folder / MANIFEST, manifest["files"], RULE)
        return cls(folder, manifest["digest"], manifest["vocabulary"]["size"], manifest)

    @property
    def listed(self) -> Listed:
        """The files, checked as they are read."""
        return Listed(self.folder / MANIFEST, self.manifest, RULE)

    def split(self, name: str) -> TokenSplit:
        """Opens one split.

        Args:
            name: `train`, `validation` or `test`.

        Returns:
            The split, its tokens memory-mapped.

        Raises:
            UserError: a file is missing or damaged; of tokens, this or reading them raises it.
        """
        return open_split(self, name)

    def vocabulary(self) -> vocabularies.Vocabulary:
        """Loads the vocabulary, a copy of which lies beside the tokens."""
        for name in vocabularies.FILES.intersection(self.manifest["files"]):
            self.listed.read(name)
        return vocabularies.load_vocabulary(self.folder)


def open_split(dataset: "TokenDataset", name: str) -> TokenSplit:
    """Opens one split, as `TokenDataset.split` does: a function, which run keys hang on."""
    manifest = dataset.manifest
    listed = Listed(dataset.folder / MANIFEST, manifest, RULE)
    if "shards" in manifest:
        from infwidth.data.sharded import open_sharded_split

        return open_sharded_split(listed, name, manifest["shards"][name])
    return TokenSplit(
        name,
        cast("np.ndarray", listed.tokens(f"{name}.tokens.npy")),
        listed.array(f"{name}.bounds.npy"),
        dataset.folder / f"{name}.names.jsonl",
    )


def tokenize(corpus_folder: Path, vocabulary_folder: Path, folder: Path) -> dict[str, Any]:
    """Packs each split's documents as BOS ... EOS into arrays of unsigned integers.

    Args:
        corpus_folder: what `prepare_corpus` has made.
        vocabulary_folder: what `train_vocabulary` has made.
        folder: what to make: arrays, document bounds and names, the vocabulary and manifest.json;
            a killed run leaves nothing there, and a rerun makes the same bytes.

    Returns:
        The manifest.

    Raises:
        UserError: an input is missing or damaged.
    """
    from infwidth.data.corpus import open_documents, read_corpus_manifest

    vocabulary = vocabularies.load_vocabulary(vocabulary_folder)
    description = vocabularies.read_description(vocabulary_folder)
    corpus = read_corpus_manifest(corpus_folder)
    with replacing_folder(folder, _OWNED) as result:
        counts = {}
        for split in SPLITS:
            documents = open_documents(corpus_folder, split)
            counts[split] = _pack_split(documents, split, vocabulary, result)
            _LOG.info("tokens: %s, %d documents, %d tokens", split, len(documents), counts[split])
        vocabularies.write_description(result, description)
        for name in description["files"]:
            shutil.copyfile(vocabulary_folder / name, result / name)
        files = describe_files(result)
        manifest = {
            "kind": "tokens",
            "digest": json_digest([vocabulary.digest, files]),
            "tokens": counts,
            "documents": {split: len(corpus["documents"][split]) for split in SPLITS},
            "vocabulary": {
                key: description[key] for key in ("kind", "size", "bos", "eos", "digest")
            },
            "corpus": {key: corpus[key] for key in ("corpus", "digest", "statement")},
            "files": files,
            "blocks": {
                name: block_digests(result / name)
                for name in (f"{split}.tokens.npy" for split in SPLITS)
            },
        }
        write_json(result / MANIFEST, manifest)
    return manifest


def _pack_split(
    documents: "PreparedDocuments", split: str, vocabulary: vocabularies.Vocabulary, folder: Path
) -> int:
    dtype = token_type(vocabulary.size)
    bounds = [0]
    with (
        (folder / f"{split}.tokens.npy").open("wb") as tokens_file,
        (folder / f"{split}.names.jsonl").open("w", encoding="utf-8") as names_file,
    ):
        tokens_file.write(array_header(dtype, 0))
        for number, document in enumerate(documents, start=1):
            ids = vocabulary.encode(document.text.decode())
            marked = np.concatenate([[vocabulary.bos], ids, [vocabulary.eos]]).astype(dtype)
            tokens_file.write(marked.tobytes())
            bounds.append(bounds[-1] + len(marked))
            names_file.write(json.dumps(document.name) + "\n")
            if number % _LOG_EVERY == 0:
                _LOG.info("tokens: %s, %d of %d documents", split, number, len(documents))
        tokens_file.seek(0)
        tokens_file.write(array_header(dtype, bounds[-1]))
    np.save(folder / f"{split}.bounds.npy", np.asarray(bounds, np.int64))
    return bounds[-1]


def token_type(vocabulary_size: int) -> np.dtype:
    """Returns the unsigned integers that ids below `vocabulary_size` are kept as."""
    return np.dtype(np.uint16 if vocabulary_size <= 2**16 else np.uint32)


def array_header(dtype: np.dtype, length: int) -> bytes:
    """Returns the head of a .npy file of one axis; heads of all lengths are equally long."""
    # NumPy leaves room for the length to grow.
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer,
        {
            "descr": np.lib.format.dtype_to_descr(dtype.newbyteorder("<")),
            "fortran_order": False,
            "shape": (length,),
        },
    )
    return buffer.getvalue()
