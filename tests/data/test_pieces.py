# SPDX-License-Identifier: Apache-2.0
"""What a text can fill is known before a vocabulary is trained."""

import re
from pathlib import Path

import pytest

from infwidth.config.errors import UserError
from infwidth.config.settings import DataSettings
from infwidth.data.corpus import prepare_corpus
from infwidth.data.pieces import check_pieces, most_pieces
from infwidth.data.vocabulary import train_vocabulary

SENTENCE = "the annual message of a president to both houses speaks of trade and of war"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(5):
        words = SENTENCE.split()
        words = [words[(number + 3 * place) % len(words)] for place in range(60)]
        (folder / f"{number}.txt").write_text(" ".join(words))
    return folder


def sized(texts: Path, size: int) -> DataSettings:
    return DataSettings(
        corpus="text", path=str(texts), vocabulary="sentencepiece", vocabulary_size=size
    )


def test_a_vocabulary_that_the_text_cannot_fill_is_refused(texts: Path):
    with pytest.raises(UserError, match=r"^data\.vocabulary_size is 32000, .* at most (\d+)") as it:
        check_pieces(sized(texts, 32_000))
    most = int(re.search(r"at most (\d+)", str(it.value))[1])
    check_pieces(sized(texts, most))


def test_none_is_refused_that_the_text_can_fill(texts: Path, tmp_path: Path, capfd):
    prepare_corpus(sized(texts, 32_000), tmp_path / "corpus")
    with pytest.raises(UserError, match="at most") as it:
        train_vocabulary(sized(texts, 32_000), tmp_path / "corpus", tmp_path / "vocabulary")
    largest = int(re.search(r"at most (\d+)", str(it.value))[1])
    check_pieces(sized(texts, largest))


def test_it_stops_reading_when_it_knows():
    def endless():
        while True:
            yield "to be or not to be"

    assert most_pieces(endless(), 270) == 270
