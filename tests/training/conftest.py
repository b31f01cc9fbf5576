# SPDX-License-Identifier: Apache-2.0
"""Tiny models, and a tiny corpus with a tiny experiment on it."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infwidth.config.settings import DataSettings, ModelSettings, TrainingSettings
from infwidth.data.corpus import prepare_corpus
from infwidth.data.tokens import TokenDataset, tokenize
from infwidth.data.vocabulary import train_vocabulary
from infwidth.experiments.runs import Bench
from infwidth.experiments.study import Place
from infwidth.stats.selection import Cell
from infwidth.training import runs
from infwidth.training.records import read_result, read_rows
from infwidth.training.rules import Hyperparameters
from infwidth.training.step import compile_program

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
TIMES = {"seconds", "tokens_per_s"}
WORDS = "the quick brown fox jumps over a lazy dog while seven grey geese look on"


def forty_steps(**changes) -> TrainingSettings:
    """Settings of 40 steps of 4 sequences."""
    sizes = {"steps": 40, "warmup_steps": 2, "batch_size": 4, "log_every": 10}
    return TrainingSettings(**{**sizes, "checkpoint_every": 20, **changes})


def rates(trunk=3e-3, readout=3e-2, kappa=1.0) -> Hyperparameters:
    return Hyperparameters(*(jnp.asarray(x, float) for x in (trunk, readout, kappa)))


def random_tokens(symbols, *shape, seed=0):
    return np.random.default_rng(seed).integers(symbols, size=shape, dtype=np.int32)


def replace_mlps(model, make):
    """Puts `make(path, mlp)` in the place of every MLP of a transformer."""
    if model.has_mlp:
        model.mlp = make("mlp", model.mlp)
    for index, block in enumerate(model.blocks):
        if block.has_mlp:
            block.mlp = make(f"blocks/{index}/mlp", block.mlp)


class Stop(Exception):
    """In the middle of a run."""


def stop_at(step):
    """A report that ends a run after a step."""

    def report(_, row):
        if row["step"] == step:
            raise Stop

    return report


def compiled_in(train, caplog):
    """What JAX compiles anew where `train` is called."""
    with jax.log_compiles(True), caplog.at_level("WARNING"):
        train()
    return [r.message for r in caplog.records if "Compiling" in r.message]


def on_cpus(devices: int) -> dict[str, str]:
    """The environment of a process that sees so many CPU devices."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    return {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


def numbers(folder):
    """All that a run measured, times of day aside."""
    rows = [{k: v for k, v in row.items() if k not in TIMES} for row in read_rows(folder)]
    result = {k: v for k, v in read_result(folder).items() if k != "device_seconds"}
    return rows, result


@dataclass(frozen=True)
class OwnBench(Bench):
    """A bench that says where its runs lie."""

    folder: Path

    def folder_of(self, place=PLACE) -> Path:
        return self.folder / self.spec(place).key


def make_bench(
    tokens, folder, model=MODEL, training=TRAINING, retrain=False, report=lambda *_: None
) -> OwnBench:
    dataset = TokenDataset.open(tokens)
    own = runs.Runs(folder, dataset, retrain, report)
    size = dataset.vocabulary_size
    return OwnBench(own, model, training, dataset.digest, size, "cpu", folder)


@pytest.fixture(scope="session")
def tokens(tmp_path_factory) -> Path:
    """Tokens (bytes) of a few small documents."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "texts").mkdir()
    random = np.random.default_rng(0)
    for i in range(12):
        text = " ".join(random.choice(WORDS.split(), 80 + i))
        (folder / "texts" / f"{i:02}.txt").write_text(text)
    settings = DataSettings(corpus="text", path=str(folder / "texts"))
    prepare_corpus(settings, folder / "corpus")
    train_vocabulary(settings, folder / "corpus", folder / "vocabulary")
    tokenize(folder / "corpus", folder / "vocabulary", folder / "tokens")
    return folder / "tokens"


@pytest.fixture(scope="session", autouse=True)
def shared_programs():
    """Programs have no state, and most of the time is compilation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "compile_program", cache(compile_program))
        yield


@pytest.fixture
def bench(tokens, tmp_path):
    """Makes a bench whose runs lie in a folder of the test's own."""

    def make(training=TRAINING, folder="runs", **more) -> OwnBench:
        return make_bench(tokens, tmp_path / folder, training=training, **more)

    return make
