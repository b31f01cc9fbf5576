# SPDX-License-Identifier: Apache-2.0
"""The corpus as a TFDS dataset: whole documents, split once, read by everything downstream."""

import contextlib
import io
import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from infwidth.config.errors import UserError
from infwidth.config.settings import DataSettings
from infwidth.data.documents import Document, Source, corpus_digest, open_source
from infwidth.data.files import MANIFEST, check_files, describe_files, json_digest, replacing_folder
from infwidth.data.splits import SPLITS, split_documents
from infwidth.stored import read_json, write_json

RULE = "infwidth data corpus"
_OWNED = frozenset({MANIFEST, "text_corpus"})
_LOG = logging.getLogger(__name__)


class _OwnInfo(tfds.core.DatasetInfo):
    def initialize_from_bucket(self) -> None:
        """Asks nobody: TFDS would look in a bucket of its own, and leave a folder in /tmp."""


class TextCorpus(tfds.core.GeneratorBasedBuilder):
    """Documents of plain text under `text`, with their `name`; shards are array_record.

    Their source and each split's names are needed to prepare them, not to read them.
    """

    name = "text_corpus"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS: Sequence[tfds.core.BuilderConfig] = [
        tfds.core.BuilderConfig(
            name="sotu", description="Annual messages of the presidents of the United States."
        ),
        tfds.core.BuilderConfig(
            name="text", description="A folder of .txt, .jsonl or .jsonl.gz files."
        ),
    ]

    def __init__(
        self,
        *,
        source: Source | None = None,
        names: dict[str, list[str]] | None = None,
        **kwargs: Any,
    ):
        self._source = source
        self._names = names
        self.characters = dict.fromkeys(SPLITS, 0)
        super().__init__(file_format="array_record", **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return _OwnInfo(
            builder=self,
            description="Plain text by document, for language models.",
            features=tfds.features.FeaturesDict(
                {"text": tfds.features.Text(), "name": tfds.features.Text()}
            ),
            # Keeps the order of the names, so that equal corpora are equal bytes.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # nothing is ever downloaded
        if self._names is None:
            raise UserError(f"a text_corpus is prepared by `{RULE}`, not by TFDS alone")
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, bytes | str]]]:
        assert self._source is not None
        assert self._names is not None
        wanted = frozenset(self._names[split])
        chosen = (document for document in self._source.read() if document.name in wanted)
        for number, document in enumerate(chosen):
            self.characters[split] += len(document.text.decode())
            yield number, {"text": document.text, "name": document.name}
            if (number + 1) % 10_000 == 0:
                _LOG.info("corpus: %d of %d %s documents", number + 1, len(wanted), split)


def prepare_corpus(settings: DataSettings, folder: Path) -> dict[str, Any]:
    """Writes the prepared TFDS dataset and its manifest; equal settings and text, equal bytes.

    A killed run leaves nothing in `folder`. Returns the manifest.
    """
    with replacing_folder(folder, _OWNED) as result:
        source = open_source(settings)
        split = split_documents(source.read(), settings)
        _LOG.info(
            "corpus: %d documents, %d empty, %d groups of copies, %d pairs of near-copies",
            sum(map(len, split.names.values())),
            split.empty,
            len(split.copies),
            len(split.near_copies),
        )
        builder = TextCorpus(
            source=source, names=split.names, config=settings.corpus, data_dir=str(result)
        )
        tfds.disable_progress_bar()
        # TFDS announces a download of unknown size, which is not what happens.
        with contextlib.redirect_stdout(io.StringIO()), _ordered_records():
            builder.download_and_prepare(file_format="array_record")
        shutil.rmtree(result / "downloads")
        manifest = {
            "kind": "corpus",
            "corpus": settings.corpus,
            "tfds": tfds.__version__,
            "dataset": Path(builder.data_dir).relative_to(result).as_posix(),
            "statement": source.statement,
            "digest": json_digest([corpus_digest(source.read()), split.names]),
            "split_seed": settings.split_seed,
            "empty_documents": split.empty,
            "copies": split.copies,
            "near_copies": split.near_copies,
            "characters": builder.characters,
            "documents": split.names,
            "files": describe_files(result),
        }
        write_json(result / MANIFEST, manifest)
    return manifest


def read_corpus_manifest(folder: Path) -> dict[str, Any]:
    """Reads the manifest of a prepared corpus and checks its files."""
    manifest = read_json(folder / MANIFEST, RULE, ("files",))
    check_files(folder / MANIFEST, manifest["files"], RULE, verify=True)
    return manifest


class PreparedDocuments:
    """The documents of one split, read one by one as they are asked for."""

    def __init__(self, records: Sequence[Any]):
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Document:
        record = self._records[index]
        return Document(record["name"].decode(), record["text"])

    def __iter__(self) -> Iterator[Document]:
        return map(self.__getitem__, range(len(self)))


def open_documents(folder: Path, split: str) -> PreparedDocuments:
    """Opens one split of a prepared corpus, whose files are checked first."""
    manifest = read_corpus_manifest(folder)
    builder = tfds.builder_from_directory(str(folder / manifest["dataset"]))
    return PreparedDocuments(builder.as_data_source(split))


@contextlib.contextmanager
def _ordered_records() -> Iterator[None]:
    # Protocol buffers write a record's features in an order that changes from process to process,
    # unless told not to, which TFDS leaves no way to do.
    serializer: Any = tfds.core.ExampleSerializer
    original = serializer.serialize_example
    serializer.serialize_example = lambda self, example: self.get_tf_example(
        example
    ).SerializeToString(deterministic=True)
    try:
        yield
    finally:
        serializer.serialize_example = original
