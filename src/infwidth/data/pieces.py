# SPDX-License-Identifier: Apache-2.0
"""How many pieces a text can give at most, found without training SentencePiece on it."""

from collections.abc import Iterable, Iterator

from infwidth.config.errors import UserError
from infwidth.config.settings import DataSettings
from infwidth.data.documents import open_source

_LONGEST_PIECE = 16
_MARKS_AND_BYTES = 3 + 256


def check_pieces(settings: DataSettings) -> None:
    """Refuses a vocabulary that a user's own text cannot fill.

    The training split, which is a part of the text, may have fewer pieces: then training says so.

    Args:
        settings: of the data; a corpus that is not the user's and a model that is given pass.

    Raises:
        UserError: `vocabulary_size` is above what the text has.
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
    times: dict[str, int] = {}
    for word in _words(texts):
        times[word] = times.get(word, 0) + 1
        if times[word] > 2:
            continue
        characters.update(word)
        for start in range(len(word)):
            for end in range(start + 2, min(start + _LONGEST_PIECE, len(word)) + 1):
                part = word[start:end]
                (twice if part in once else once).add(part)
        if _MARKS_AND_BYTES + len(characters) + len(twice) >= enough:
            return enough
    return _MARKS_AND_BYTES + len(characters) + len(twice)


def _words(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for line in text.split("\n"):
            first, *others = line.split(" ")
            yield first
            # The space goes with the word after it.
            yield from (f" {word}" for word in others)
