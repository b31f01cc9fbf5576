# SPDX-License-Identifier: Apache-2.0
"""All shards of C4 as one set of tokens: makes those that are missing, then a manifest of them."""

import os
import shutil
from pathlib import Path
from typing import Any

from infwidth.config.errors import UserError
from infwidth.config.settings import DataSettings
from infwidth.data import vocabulary as vocabularies
from infwidth.data.c4_catalogue import check_against_catalogue
from infwidth.data.c4_files import C4Files, C4Shard
from infwidth.data.c4_shard import HELD_OUT, shard_digest, tokenize_shard
from infwidth.data.files import MANIFEST, describe_files, json_digest, replacing_folder
from infwidth.data.splits import SPLITS
from infwidth.stored import write_json

_OWNED = frozenset({MANIFEST, *vocabularies.FILES})


class ShardMaker:
    """Makes tokens of shards under one set of settings.

    Args:
        files: C4's shards.
        catalogue: folder of the catalogue that they are compared with.
        vocabulary: folder that `train_vocabulary` has made.
        data: `text_key`, `split_seed` and `c4.train_shards`.
        budget: tokens of training text wanted, where `c4.train_shards` does not say how much.
        folder: where each shard gets a folder of its name.

    Raises:
        UserError: a file has changed since the catalogue was written.
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
            if not (self.place(other) / MANIFEST).is_file():
                self.make(other)
        return tokenize_shard(
            shard,
            self.files.form,
            self._data.text_key,
            self._data.split_seed,
            self._vocabulary,
            [self.place(other) for other in held_out],
            self.budget if train and self.train_shards is None else None,
            self.place(shard),
        )

    def place(self, shard: C4Shard) -> Path:
        """The folder of a shard's tokens."""
        return self.folder / shard.name

    def shard(self, name: str) -> C4Shard:
        """Finds a shard by its name.

        Raises:
            UserError: there is none of that name.
        """
        known = {shard.name: shard for shard in [*self.files.train, *self.files.validation]}
        if name not in known:
            raise UserError(f"{self.files.folder} has no shard {name}: name one as in train-00003")
        return known[name]


def join_shards(maker: ShardMaker, vocabulary_folder: Path, folder: Path) -> dict[str, Any]:
    """Makes the shards that are missing, in turn, and the manifest of all that are read.

    Training shards are taken from the first on, as many as `c4.train_shards` says or until their
    tokens meet the budget, whichever shards were made meanwhile.

    Args:
        maker: makes shards.
        vocabulary_folder: what `train_vocabulary` has made.
        folder: what to make: the manifest, and a copy of the vocabulary.

    Returns:
        The manifest, of the form that `tokenize` writes; `shards` says where each split's lie.

    Raises:
        UserError: the shards hold fewer tokens than the budget, or a split holds no document.
    """
    held_out = [(shard, maker.make(shard)) for shard in maker.files.validation]
    train = _training_shards(maker)
    made: dict[str, list[tuple[C4Shard, dict[str, Any]]]] = {
        "train": train,
        **dict.fromkeys(HELD_OUT, held_out),
    }
    documents = {s: sum(m["documents"][s] for _, m in made[s]) for s in SPLITS}
    for split, count in documents.items():
        if not count:
            raise UserError(f"{maker.files.folder}: no document for {split}: add shards")
    description = vocabularies.read_description(vocabulary_folder)
    digests = {s: [shard_digest(m, s) for _, m in made[s]] for s in SPLITS}
    parent = Path(os.path.relpath(maker.folder, folder))
    with replacing_folder(folder, _OWNED) as result:
        vocabularies.write_description(result, description)
        for name in description["files"]:
            shutil.copyfile(vocabulary_folder / name, result / name)
        manifest = {
            "kind": "tokens",
            "digest": json_digest([description["digest"], digests]),
            "tokens": {s: sum(m["tokens"][s] for _, m in made[s]) for s in SPLITS},
            "documents": documents,
            "left_out": _sums([m["left_out"] for _, m in [*held_out, *train]]),
            "vocabulary": {
                key: description[key] for key in ("kind", "size", "bos", "eos", "digest")
            },
            "corpus": {key: maker.catalogue[key] for key in ("corpus", "digest", "statement")},
            "shards": {
                s: [
                    {"folder": (parent / shard.name).as_posix(), "file": shard.path.name}
                    for shard, _ in made[s]
                ]
                for s in SPLITS
            },
            "files": {
                **describe_files(result),
                **{
                    (parent / shard.name / name).as_posix(): about
                    for shard, m in [*held_out, *train]
                    for name, about in m["files"].items()
                },
            },
            "blocks": {
                (parent / shard.name / name).as_posix(): digests
                for shard, m in [*held_out, *train]
                for name, digests in m["blocks"].items()
            },
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


def _sums(counts: list[dict[str, int]]) -> dict[str, int]:
    return {key: sum(count[key] for count in counts) for key in counts[0]}
