# SPDX-License-Identifier: Apache-2.0
import itertools
import json
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infwidth.config.errors import UserError
from infwidth.config.settings import DataSettings
from infwidth.data.corpus import open_documents, prepare_corpus
from infwidth.data.documents import check_pieces, most_pieces
from infwidth.data.files import describe_files
from infwidth.data.vocabulary import (
    DESCRIPTION,
    MODEL,
    ByteVocabulary,
    SentencePieceVocabulary,
    Vocabulary,
    load_vocabulary,
    read_description,
    train_vocabulary,
)
from tests.data.conftest import Prepared
from tests.data.texts import write_texts

OF_PIECES = pytest.mark.parametrize("prepared", ["sentencepiece"], indirect=True)
# The fixture's vocabulary does not change between examples.
SHARED = settings(max_examples=200, deadline=None)
AWKWARD = [
    "",
    "\0",
    "a\u2581b",
    "\u2581",
    "  two  spaces ",
    "\r\n\n",
    "<s></s><unk><0x0A>",
    "🙂é\ufeff",
]


@pytest.fixture(scope="session")
def vocabulary(prepared: Prepared) -> Vocabulary:
    return load_vocabulary(prepared.vocabulary)


@SHARED
@given(text=st.text())
def test_any_text_survives(vocabulary: Vocabulary, text: str):
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    assert ids.dtype == np.int32
    assert not np.isin(ids, [vocabulary.bos, vocabulary.eos]).any()
    assert ((ids >= 0) & (ids < vocabulary.size)).all()


for awkward in AWKWARD:
    test_any_text_survives = example(text=awkward)(test_any_text_survives)


@SHARED
@given(data=st.data())
def test_any_ids_have_a_text(vocabulary: Vocabulary, data: st.DataObject):
    ids = data.draw(st.lists(st.integers(0, vocabulary.size - 1)))
    marks = [vocabulary.bos, *ids, vocabulary.eos]
    assert vocabulary.decode(np.asarray(marks)) == vocabulary.decode(np.asarray(ids, np.int32))


@OF_PIECES
def test_decoding_agrees_with_sentencepiece(prepared: Prepared, vocabulary: Vocabulary):
    from sentencepiece import SentencePieceProcessor

    oracle = SentencePieceProcessor(model_file=str(prepared.vocabulary / MODEL))
    text = open_documents(prepared.corpus, "test")[0].text.decode()
    ids = vocabulary.encode(text)
    assert ids.tolist() == oracle.encode(text)
    assert vocabulary.decode(ids) == oracle.decode(ids.tolist())
    # Digests tell vocabularies apart.
    model = (prepared.vocabulary / MODEL).read_bytes()
    assert SentencePieceVocabulary(model).digest == vocabulary.digest != ByteVocabulary().digest


def test_sizes_are_as_asked(prepared: Prepared, vocabulary: Vocabulary):
    expected = {"bytes": 258, "sentencepiece": 320}[prepared.settings.vocabulary]
    assert vocabulary.size == expected
    assert 0 <= vocabulary.bos < expected
    assert vocabulary.bos != vocabulary.eos


def test_held_out_text_leaves_no_trace_in_the_model(tmp_path: Path):
    texts = write_texts(tmp_path / "texts")
    kwargs = {"corpus": "text", "path": str(texts), "vocabulary": "sentencepiece"}
    chosen = DataSettings(vocabulary_size=320, **kwargs)
    manifest = prepare_corpus(chosen, tmp_path / "corpus")
    one = train_vocabulary(chosen, tmp_path / "corpus", tmp_path / "one")

    held_out = [*manifest["documents"]["validation"], *manifest["documents"]["test"]]
    files = [texts / name for name in held_out if name.endswith(".txt")]
    assert files
    # Texts unlike each other: copies would move to one side.
    for letter, path in zip("qxzjkvw", files, strict=False):
        path.write_text(f"{letter}zebra quartz{letter} " * 50)
    again = prepare_corpus(chosen, tmp_path / "corpus")
    assert again["documents"] == manifest["documents"]
    assert again["digest"] != manifest["digest"]
    two = train_vocabulary(chosen, tmp_path / "corpus", tmp_path / "two")
    assert one["digest"] == two["digest"]


def test_a_vocabulary_too_large_names_the_largest_in_time(
    prepared: Prepared, texts: Path, tmp_path: Path, capfd
):
    def sized(size: int) -> DataSettings:
        return DataSettings(
            corpus="text", path=str(texts), vocabulary="sentencepiece", vocabulary_size=size
        )

    def most(function, *arguments) -> int:
        with pytest.raises(UserError, match=r"^data\.vocabulary_size is 9999.* at most ") as caught:
            function(sized(9999), *arguments)
        return int(re.search(r"at most (\d+)", str(caught.value))[1])

    largest = most(train_vocabulary, prepared.corpus, tmp_path / "vocabulary")
    assert list(tmp_path.iterdir()) == []
    made = train_vocabulary(sized(largest), prepared.corpus, tmp_path / "vocabulary")
    assert made["size"] == largest
    # Before any training, none is refused that the text can fill.
    check_pieces(sized(largest))
    check_pieces(sized(most(check_pieces)))
    assert capfd.readouterr() == ("", "")


def test_pieces_are_counted_only_until_there_are_enough():
    assert most_pieces(itertools.repeat("to be or not to be"), 270) == 270


def test_a_vocabulary_too_small_names_the_smallest(prepared: Prepared, tmp_path: Path):
    chosen = DataSettings(vocabulary="sentencepiece", vocabulary_size=260)
    with pytest.raises(UserError, match=r"^data\.vocabulary_size is 260, .* take \d+: raise it"):
        train_vocabulary(chosen, prepared.corpus, tmp_path / "vocabulary")


@OF_PIECES
def test_a_damaged_model_is_named(prepared: Prepared, tmp_path: Path):
    train_vocabulary(prepared.settings, prepared.corpus, tmp_path / "vocabulary")
    path = tmp_path / "vocabulary" / MODEL
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"sentencepiece\.model .*`infwidth data vocabulary`"):
        load_vocabulary(tmp_path / "vocabulary")


def test_training_again_gives_the_same_bytes_of_which_a_flipped_bit_is_found_or_says_the_same(
    prepared: Prepared, tmp_path: Path
):
    description = train_vocabulary(prepared.settings, prepared.corpus, tmp_path / "vocabulary")
    assert describe_files(tmp_path / "vocabulary") == describe_files(prepared.vocabulary)
    path = tmp_path / "vocabulary" / DESCRIPTION
    whole = path.read_bytes()
    for place in range(0, len(whole), 2):
        flipped = bytes([whole[place] ^ 1 << place // 2 % 8])
        path.write_bytes(whole[:place] + flipped + whole[place + 1 :])
        with suppress(UserError):
            assert read_description(tmp_path / "vocabulary") == description
        path.write_bytes(whole)


@OF_PIECES
def test_a_given_model_is_used_as_it_is(prepared: Prepared, tmp_path: Path):
    given = prepared.vocabulary / MODEL
    chosen = DataSettings(vocabulary="sentencepiece", vocabulary_model=str(given))
    made = train_vocabulary(chosen, tmp_path / "no corpus is read", tmp_path / "vocabulary")
    assert made == json.loads((prepared.vocabulary / DESCRIPTION).read_text())
    assert (tmp_path / "vocabulary" / MODEL).read_bytes() == given.read_bytes()


KEPT = {
    "vocab_size": 330,
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "add_dummy_prefix": False,
    "remove_extra_whitespaces": False,
}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, None),
        ({"byte_fallback": False, "vocab_size": 80}, "loses text"),
        ({"normalization_rule_name": "nmt_nfkc"}, "loses text"),
        ({"remove_extra_whitespaces": True}, "loses text"),
        ({"add_dummy_prefix": True}, "loses text"),
        ({"bos_id": -1}, "has no BOS or no EOS"),
    ],
)
def test_a_given_model_that_loses_text_or_has_no_marks_is_refused(
    texts: Path, tmp_path: Path, changed: dict, message: str | None
):
    from sentencepiece import SentencePieceTrainer

    path = tmp_path / "given.model"
    lines = [line for file in texts.glob("*.txt") for line in file.read_text("utf-8").split("\n")]
    with path.open("wb") as file:
        SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=file,
            minloglevel=2,
            **{**KEPT, **changed},
        )
    chosen = DataSettings(vocabulary="sentencepiece", vocabulary_model=str(path))
    if message is None:
        assert train_vocabulary(chosen, tmp_path, tmp_path / "vocabulary")["size"] == 330
        return
    with pytest.raises(UserError, match=f"data.vocabulary_model: .*given.model {message}"):
        train_vocabulary(chosen, tmp_path, tmp_path / "vocabulary")


def test_a_missing_vocabulary_and_a_file_that_is_no_model_are_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"vocabulary\.json is missing: run `infwidth data voc"):
        load_vocabulary(tmp_path / "none")
    path = tmp_path / "given.model"
    chosen = DataSettings(vocabulary="sentencepiece", vocabulary_model=str(path))
    with pytest.raises(UserError, match="there is no file"):
        train_vocabulary(chosen, tmp_path, tmp_path / "vocabulary")
    path.write_bytes(b"not a model")
    with pytest.raises(UserError, match=r"given\.model is no SentencePiece model"):
        train_vocabulary(chosen, tmp_path, tmp_path / "vocabulary")
