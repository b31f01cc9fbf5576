# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import NamedTuple

import pytest

from infwidth.config.settings import DataSettings
from infwidth.data.corpus import prepare_corpus
from infwidth.data.tokens import TokenDataset, tokenize
from infwidth.data.vocabulary import train_vocabulary
from tests.data.texts import write_texts


class Prepared(NamedTuple):
    """A tiny corpus and what is made of it, for one kind of vocabulary."""

    settings: DataSettings
    corpus: Path
    vocabulary: Path
    tokens: Path

    @property
    def dataset(self) -> TokenDataset:
        return TokenDataset.open(self.tokens)


def prepare(settings: DataSettings, folder: Path) -> Prepared:
    """Makes corpus, vocabulary and tokens, in turn."""
    result = Prepared(settings, folder / "corpus", folder / "vocabulary", folder / "tokens")
    prepare_corpus(settings, result.corpus)
    train_vocabulary(settings, result.corpus, result.vocabulary)
    tokenize(result.corpus, result.vocabulary, result.tokens)
    return result


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("texts") / "texts")


@pytest.fixture(scope="session", params=["bytes", "sentencepiece"])
def prepared(
    request: pytest.FixtureRequest, texts: Path, tmp_path_factory: pytest.TempPathFactory
) -> Prepared:
    settings = DataSettings(
        corpus="text",
        path=str(texts),
        vocabulary=request.param,
        vocabulary_size=320,
        validation_fraction=0.2,
        test_fraction=0.2,
    )
    return prepare(settings, tmp_path_factory.mktemp(request.param))
