# SPDX-License-Identifier: Apache-2.0
"""Text to tokens and back, without loss: single bytes, or a SentencePiece unigram model."""

import io
import json
import logging
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from infwidth.atomic import write_atomically
from infwidth.config.errors import UserError
from infwidth.config.settings import DataSettings
from infwidth.data.files import check_files, describe_files, json_digest, replacing_folder
from infwidth.stored import damaged, read_json

RULE = "infwidth data vocabulary"
DESCRIPTION = "vocabulary.json"
MODEL = "sentencepiece.model"
FILES = frozenset({DESCRIPTION, MODEL})
# Beyond this, pieces no longer change and training no longer fits in memory.
_MOST_TRAINING_BYTES = 2**28
_SPACE = "\u2581"
# What a model that changes text would change: spaces, case of a kind, forms of a character, bytes.
_PROBES = ("  two  spaces ", "\ufb01ne \u2460 \xc5 A\u030a", "\r\n\t", "\U0001f642\U000e0001\0")
_LOG = logging.getLogger(__name__)


class Vocabulary(ABC):
    """Numbered pieces of text, two of which mark a document's ends; equal digests encode alike."""

    size: int
    bos: int
    eos: int
    digest: str

    @abstractmethod
    def encode(self, text: str) -> np.ndarray:
        """Returns the ids of a text, int32, without marks."""

    @abstractmethod
    def decode_bytes(self, ids: np.ndarray) -> bytes:
        """Returns the bytes of ids; marks have none."""

    def decode(self, ids: np.ndarray) -> str:
        """Returns the text of ids; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode(errors="replace")


class ByteVocabulary(Vocabulary):
    """The 256 bytes, then BOS and EOS."""

    size = 258
    bos = 256
    eos = 257
    digest = json_digest(["bytes", size, bos, eos])

    def encode(self, text: str) -> np.ndarray:
        """Returns the UTF-8 bytes of a text as ids, int32."""
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32)

    def decode_bytes(self, ids: np.ndarray) -> bytes:
        """Returns the bytes of ids; marks have none."""
        ids = np.asarray(ids)
        return ids[ids < 256].astype(np.uint8).tobytes()


class SentencePieceVocabulary(Vocabulary):
    """A unigram model with single bytes to fall back on, which changes no character."""

    def __init__(self, model: bytes):
        from sentencepiece import SentencePieceProcessor

        self._processor = SentencePieceProcessor(model_proto=model)
        self.size = self._processor.get_piece_size()
        self.bos = self._processor.bos_id()
        self.eos = self._processor.eos_id()
        self.digest = json_digest(["sentencepiece", model.hex()])
        self._bytes_of = [self._piece_bytes(id_) for id_ in range(self.size)]
        # The model writes spaces as U+2581, so that character itself goes by its three bytes.
        bytes_of_space = [f"<0x{byte:02X}>" for byte in _SPACE.encode()]
        self._block = np.asarray(self._processor.piece_to_id(bytes_of_space), np.int32)

    def encode(self, text: str) -> np.ndarray:
        """Returns the ids of a text's most likely segmentation, int32."""
        if _SPACE not in text:
            return self._encode(text)
        first, *others = map(self._encode, text.split(_SPACE))
        return np.concatenate([first, *(part for run in others for part in (self._block, run))])

    def decode_bytes(self, ids: np.ndarray) -> bytes:
        """Returns the bytes of ids; marks have none."""
        return b"".join([self._bytes_of[id_] for id_ in np.asarray(ids).tolist()])

    def _encode(self, text: str) -> np.ndarray:
        # Arrays at once: a list of Python's integers takes a fifth longer.
        ids: np.ndarray = self._processor.encode(text, return_type="numpy")
        return ids

    def _piece_bytes(self, id_: int) -> bytes:
        if self._processor.is_control(id_) or self._processor.is_unknown(id_):
            return b""
        piece = self._processor.id_to_piece(id_)
        if self._processor.is_byte(id_):
            return bytes([int(piece[3:5], 16)])
        return piece.replace(_SPACE, " ").encode()


def train_vocabulary(
    settings: DataSettings,
    corpus_folder: Path,
    folder: Path,
    documents: Callable[[], Iterable[str]] | None = None,
) -> dict[str, Any]:
    """Makes the vocabulary that the settings name, from the training split (or `documents`) alone.

    Returns what is written to vocabulary.json, beside which SentencePiece's model lies.
    """
    with replacing_folder(folder, FILES) as result:
        if settings.vocabulary == "bytes":
            vocabulary: Vocabulary = ByteVocabulary()
        else:
            if settings.vocabulary_model is not None:
                model = _given_model(Path(settings.vocabulary_model))
            else:
                texts = documents() if documents else _training_texts(corpus_folder)
                model = _train_sentencepiece(settings.vocabulary_size, _lines(texts))
            (result / MODEL).write_bytes(model)
            vocabulary = SentencePieceVocabulary(model)
        description = _described(vocabulary, describe_files(result))
        write_description(result, description)
    _LOG.info("vocabulary: %s, %d tokens", settings.vocabulary, vocabulary.size)
    return description


def load_vocabulary(folder: Path) -> Vocabulary:
    """Loads what `train_vocabulary` or `tokenize` has made."""
    return _read(folder)[0]


def read_description(folder: Path) -> dict[str, Any]:
    """What vocabulary.json says, all of which follows from the vocabulary."""
    return _read(folder)[1]


def write_description(folder: Path, description: dict[str, Any]) -> None:
    """Writes vocabulary.json.

    It has no digest in itself: its own sha256 is in that of the tokens, and so in keys of runs.
    """
    text = json.dumps(description, indent=2, ensure_ascii=False)
    write_atomically(folder / DESCRIPTION, f"{text}\n")


def _read(folder: Path) -> tuple[Vocabulary, dict[str, Any]]:
    path = folder / DESCRIPTION
    said = read_json(path, RULE, ("files", "kind"))
    try:
        check_files(path, said["files"], RULE, verify=True)
    except (AttributeError, KeyError, TypeError):
        raise damaged(path, "its list of files is none", RULE) from None
    vocabulary: Vocabulary = ByteVocabulary()
    if MODEL in said["files"]:
        vocabulary = SentencePieceVocabulary((folder / MODEL).read_bytes())
    if said != _described(vocabulary, said["files"]):
        raise damaged(path, "it tells of another vocabulary", RULE)
    return vocabulary, said


def _described(vocabulary: Vocabulary, files: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "sentencepiece" if MODEL in files else "bytes",
        "size": vocabulary.size,
        "bos": vocabulary.bos,
        "eos": vocabulary.eos,
        "digest": vocabulary.digest,
        "files": files,
    }


def _given_model(path: Path) -> bytes:
    if not path.is_file():
        raise UserError(f"data.vocabulary_model: there is no file {path}")
    model = path.read_bytes()
    try:
        vocabulary = SentencePieceVocabulary(model)
    except RuntimeError:
        raise UserError(f"data.vocabulary_model: {path} is no SentencePiece model") from None
    if min(vocabulary.bos, vocabulary.eos) < 0:
        raise UserError(
            f"data.vocabulary_model: {path} has no BOS or no EOS: train it with bos_id and eos_id"
        )
    if any(vocabulary.decode(vocabulary.encode(text)) != text for text in _PROBES):
        raise UserError(
            f"data.vocabulary_model: {path} loses text, so its losses would leave some out: train "
            "it with byte_fallback, normalization_rule_name=identity, add_dummy_prefix=false and "
            "remove_extra_whitespaces=false"
        )
    return model


def _train_sentencepiece(size: int, lines: Iterator[str]) -> bytes:
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=lines,
            model_writer=model,
            vocab_size=size,
            model_type="unigram",
            byte_fallback=True,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            # More threads sum in another order and find other pieces.
            num_threads=1,
            # Longer lines would be left out, and paragraphs are long.
            max_sentence_length=2**30,
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _size_error(size, str(error)) from None
    return model.getvalue()


def _size_error(size: int, message: str) -> UserError:
    if largest := re.search(r"set it to a value <= (\d+)", message):
        return UserError(
            f"data.vocabulary_size is {size}, but the training text has pieces for at most "
            f"{largest[1]}: lower it, or use more text"
        )
    if smallest := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return UserError(
            f"data.vocabulary_size is {size}, but the bytes and characters of the training text "
            f"take {smallest[1]}: raise it"
        )
    return UserError(f"SentencePiece cannot learn data.vocabulary_size {size} pieces: {message}")


def _lines(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from (line for line in text.replace("\0", "").split("\n") if line)


def _training_texts(corpus_folder: Path) -> Iterator[str]:
    from infwidth.data.corpus import open_documents, read_corpus_manifest

    characters = read_corpus_manifest(corpus_folder)["characters"]["train"]
    documents = open_documents(corpus_folder, "train")
    stride = math.ceil(characters / _MOST_TRAINING_BYTES)
    for index in range(0, len(documents), stride):
        yield documents[index].text.decode()
