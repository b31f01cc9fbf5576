# SPDX-License-Identifier: Apache-2.0
import argparse
from pathlib import Path

import numpy as np
import pytest

from infwidth.cli import data as cli
from infwidth.config.settings import DataSettings, ModelSettings, Settings, TrainingSettings
from infwidth.data.batches import Batches
from infwidth.data.show import describe_batch, readable
from infwidth.data.vocabulary import ByteVocabulary
from infwidth.layout import Layout
from tests.data.conftest import Prepared


def test_marks_escapes_and_cut_characters_are_visible():
    vocabulary = ByteVocabulary()
    text = vocabulary.encode("tab\tand é\n")
    ids = np.concatenate([[0xA9], text, [vocabulary.eos, vocabulary.bos], text[:3], [0xC3]])
    assert readable(vocabulary, ids) == r"\xa9tab\tand é\n⟨eos⟩⟨bos⟩tab\xc3"


def test_every_row_is_the_batch_of_training_with_its_place(prepared: Prepared):
    dataset = prepared.dataset
    split, vocabulary = dataset.split("train"), dataset.vocabulary()
    heading, *rows = describe_batch(dataset, context=16, batch_size=8, seed=3, step=17)
    assert heading.startswith("step 17, seed 3: 8 rows of 16 + 1 tokens; epoch ")
    batch = Batches(split, 16, 8, seed=3).at(17)
    assert len(rows) == len(batch)
    names = split.document_names()
    for row, tokens in zip(rows, batch, strict=True):
        place, _, text = row.partition(': "')
        assert text == f'{readable(vocabulary, tokens)}"'
        name, _, offset = place.split(maxsplit=1)[1].rpartition(", token ")
        start = split.bounds[names.index(name)] + int(offset)
        assert split.tokens[start : start + 17].tolist() == tokens.tolist()


def parsed(line: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    return parser.parse_args(["data", *line.split()])


def test_the_commands_make_what_the_functions_make(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
):
    settings = Settings(
        data=DataSettings(corpus="text", path=str(texts)),
        model=ModelSettings(context=16),
        training=TrainingSettings(batch_size=4),
    )
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> str:
        arguments = parsed(line)
        arguments.run(arguments, settings, Layout("tiny"))
        return capsys.readouterr().out

    assert "documents: 21 train, 1 validation, 2 test; 0 empty" in run("corpus")
    assert "bytes, 258 tokens" in run("vocabulary --out elsewhere")
    assert "tokens: " in run("tokenize --vocabulary elsewhere")
    shown = run("show --step 17 --seed 3 --rows 2")
    assert len(shown.splitlines()) == 3
    assert (tmp_path / "results/tiny/data/tokens/manifest.json").exists()


def test_a_negative_step_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        parsed("show --step -1")
    assert "invalid whole number of 0 or more value: '-1'" in capsys.readouterr().err
