# SPDX-License-Identifier: Apache-2.0
"""Shards in C4's own format, and a tiny TFDS `c4/en`, with the same documents."""

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path

import tensorflow_datasets as tfds

from tests.data.texts import WORDS

Shards = dict[str, list[list[str]]]
"""C4's split -> shards -> texts."""


def c4_texts(train: int = 3, validation: int = 2, documents: int = 30, seed: int = 0) -> Shards:
    """Random texts, a few awkward: empty, of white space, with marks."""
    rng = random.Random(seed)

    def shard() -> list[str]:
        texts = [" ".join(rng.choices(WORDS, k=rng.randint(20, 120))) for _ in range(documents)]
        texts[3] += "\n\n Ünïcode 🙂 \u2581 <s>\u2028tab\t"
        texts[5] = " \n"
        return texts

    counts = {"train": train, "validation": validation}
    return {split: [shard() for _ in range(count)] for split, count in counts.items()}


def write_shard(path: Path, texts: list[str]) -> None:
    """One file as allenai/c4 has it: a row of JSON a line."""
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for number, text in enumerate(texts):
            row = {
                "text": text,
                "timestamp": "2019-04-25T12:57:54Z",
                "url": f"https://example.org/{path.name}/{number}",
            }
            file.write(json.dumps(row) + "\n")


def shard_path(folder: Path, split: str, number: int, total: int) -> Path:
    return folder / f"c4-{split}.{number:05d}-of-{total:05d}.json.gz"


def write_json_shards(folder: Path, shards: Shards) -> Path:
    """A folder of all shards."""
    folder.mkdir(parents=True)
    for split, some in shards.items():
        for number, texts in enumerate(some):
            write_shard(shard_path(folder, split, number, len(some)), texts)
    return folder


class C4(tfds.core.GeneratorBasedBuilder):
    """Named, versioned and with the features of TFDS's own."""

    VERSION = tfds.core.Version("3.0.1")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="en", description="for a test")]  # noqa: RUF012

    def __init__(self, shards: Shards, **kwargs):
        self._shards = shards
        super().__init__(config="en", file_format="array_record", **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        texts = ("text", "timestamp", "url", "content-type", "content-length")
        features = tfds.features.FeaturesDict({name: tfds.features.Text() for name in texts})
        return tfds.core.DatasetInfo(
            builder=self, description="for a test", features=features, disable_shuffling=True
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in self._shards}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, str]]]:
        texts = [text for shard in self._shards[split] for text in shard]
        for number, text in enumerate(texts):
            yield (
                number,
                {
                    "text": text,
                    "timestamp": "2019-04-25T12:57:54Z",
                    "url": f"https://example.org/{number}",
                    "content-type": "text/html",
                    "content-length": "1",
                },
            )


def prepare_tfds(folder: Path, shards: Shards) -> Path:
    """A TFDS data directory with `c4/en/3.0.1` in array_record, as many files as shards."""
    builder = C4(shards, data_dir=str(folder))
    files = tfds.download.DownloadConfig(num_shards=len(shards["train"]))
    builder.download_and_prepare(file_format="array_record", download_config=files)
    return folder
