# SPDX-License-Identifier: Apache-2.0
"""A tiny corpus and a tiny experiment on it."""

import os
from pathlib import Path

import numpy as np
import pytest

from infwidth.config.settings import DataSettings, ModelSettings, TrainingSettings
from infwidth.data.corpus import prepare_corpus
from infwidth.data.tokens import TokenDataset, tokenize
from infwidth.data.vocabulary import train_vocabulary
from infwidth.experiments.lm_width.measure import Bench
from infwidth.experiments.lm_width.plan import Place
from infwidth.stats.selection import Cell
from infwidth.training.runs import Runs

MODEL = ModelSettings(d_model=8, layers=1, heads=2, context=8)
TRAINING = TrainingSettings(
    steps=20,
    warmup_steps=2,
    batch_size=4,
    evaluation_tokens=200,
    log_every=5,
    checkpoint_every=10,
    trunk_learning_rate=0.01,
)
PLACE = Place("report", "adam_star", 4, Cell(0.5), 3)


def on_cpus(devices: int) -> dict[str, str]:
    """The environment of a process that sees so many CPU devices."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    return {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


@pytest.fixture(scope="session")
def tokens(tmp_path_factory) -> Path:
    """Tokens (bytes) of a few small documents."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "texts").mkdir()
    words = [
        "the",
        "quick",
        "brown",
        "fox",
        "jumps",
        "over",
        "a",
        "lazy",
        "dog",
        "while",
        "seven",
        "grey",
        "geese",
        "look",
        "on",
    ]
    random = np.random.default_rng(0)
    for i in range(12):
        text = " ".join(random.choice(words, 80 + i))
        (folder / "texts" / f"{i:02}.txt").write_text(text)
    settings = DataSettings(corpus="text", path=str(folder / "texts"))
    prepare_corpus(settings, folder / "corpus")
    train_vocabulary(settings, folder / "corpus", folder / "vocabulary")
    tokenize(folder / "corpus", folder / "vocabulary", folder / "tokens")
    return folder / "tokens"


@pytest.fixture
def bench(tokens, tmp_path):
    """Makes a bench whose runs lie in a folder of the test's own."""

    def make(training=TRAINING, retrain=False, report=lambda *_: None, folder="runs") -> Bench:
        dataset = TokenDataset.open(tokens)
        return Bench(
            Runs(tmp_path / folder, dataset, retrain, report),
            MODEL,
            training,
            dataset.digest,
            dataset.vocabulary_size,
            "cpu",
        )

    return make
