# SPDX-License-Identifier: Apache-2.0
"""Runs: cached, resumed to the bit, never reused wrongly, and ended alone when they diverge."""

import errno
import math
import os
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import tensorstore
from orbax.checkpoint import v1 as ocp

from infwidth.artifact.planning.counts import CHECKPOINTS_KEPT
from infwidth.config.errors import UserError
from infwidth.config.variants import VARIANTS
from infwidth.data.batches import Batches
from infwidth.data.tokens import TokenDataset
from infwidth.stats.selection import Cell
from infwidth.training import processes, runs
from infwidth.training.execute import train
from infwidth.training.records import read_record, read_result, read_rows
from infwidth.training.runs import in_training
from infwidth.training.step import compile_program
from tests.training.conftest import MODEL, PLACE, TRAINING, Stop, make_bench, numbers, stop_at


def changed(**settings):
    return TRAINING.model_copy(update=settings)


def rows_trained(bench, place=PLACE, **more):
    """The rows that a run adds to what is there."""
    rows = []
    bench(report=lambda _, row: rows.append(row), **more).run(place)
    return rows


@pytest.fixture(scope="module")
def ended(tokens, tmp_path_factory):
    """A folder with a run that nothing disturbed."""
    here = make_bench(tokens, tmp_path_factory.mktemp("ended"))
    here.run(PLACE)
    return here


@pytest.fixture
def expected(ended):
    """What that run measured."""
    return numbers(ended.folder_of())


@pytest.fixture
def here(ended, bench, tmp_path):
    """A bench beside a copy of that run."""
    shutil.copytree(ended.folder, tmp_path / "runs")
    return bench()


def test_a_run_is_trained_once_and_its_rows_and_result_say_what_a_reader_needs(bench):
    rows = []
    first = bench(changed(checkpoint_every=5), report=lambda _, row: rows.append(row))
    _, result = first.run(PLACE)
    assert [row["step"] for row in rows] == [5, 10, 15, 20]
    assert first.run(PLACE)[1] == bench(report=lambda *_: rows.append(0)).run(PLACE)[1] == result
    assert len(rows) == 4
    assert len(list((first.folder_of() / "checkpoints").iterdir())) == CHECKPOINTS_KEPT
    assert read_rows(first.folder_of())[-1].keys() >= {
        *("step", "loss", "tokens_per_s", "learning_rate/trunk", "learning_rate/readout"),
        *("update_rms/trunk", "update_rms/readout", "blocks/0/mlp"),
    }
    documents = result["test_documents"]
    total = math.fsum(documents["loss_sum"]) / sum(documents["tokens"])
    assert result["test_loss"] == pytest.approx(total, rel=1e-12)
    assert 0 < result["test_loss"] < math.log(258) * 1.2


def test_sgds_unit_is_of_the_gradients_of_eight_batches(bench, tokens):
    here, place = bench(), PLACE._replace(variant="ntk")
    _, result = here.run(place)
    program = compile_program(MODEL, TRAINING, VARIANTS["ntk"], 4, here.vocabulary_size)
    train = TokenDataset.open(tokens).split("train")
    batches = Batches(train, MODEL.context, TRAINING.batch_size, 3)
    gradients = [program.functional_gradients(program.init(3), batches.at(k)) for k in range(8)]
    squares = [np.mean(np.square(g)) for of_batch in gradients for g in of_batch.values()]
    assert result["rate_unit"] == pytest.approx(np.mean(squares) ** -0.5, rel=1e-5)


def test_tuning_never_reads_the_test_split(bench):
    _, result = bench().run(PLACE._replace(role="tuning"))
    assert "validation_loss" in result
    assert not any("test" in key for key in result)


def test_a_run_that_is_interrupted_goes_on_and_ends_with_the_same_bits(bench, expected):
    for step in (5, 15, 20):
        name = f"stopped at {step}"
        with pytest.raises(Stop):
            bench(report=stop_at(step), folder=name).run(PLACE)
        resumed = bench(folder=name)
        resumed.run(PLACE)
        assert numbers(resumed.folder_of()) == expected


_TRAIN_SLOWLY = """
import sys, time
from pathlib import Path
from tests.training.conftest import PLACE, make_bench
def report(spec, row):
    print(row["step"], flush=True)
    time.sleep(0.2)
make_bench(Path(sys.argv[1]), Path(sys.argv[2]), report=report).run(PLACE)
"""


def start(tokens, folder):
    return subprocess.Popen(
        [sys.executable, "-c", _TRAIN_SLOWLY, str(tokens), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )


@pytest.mark.slow
def test_sigkill_costs_no_bit_and_frees_the_run(bench, tokens, tmp_path, expected):
    process = start(tokens, tmp_path / "killed")
    resumed = bench(folder="killed")
    with process:
        for line in process.stdout:
            if line.strip() == "15":
                assert in_training(resumed.folder_of())
                process.send_signal(signal.SIGKILL)
                break
    assert read_result(resumed.folder_of()) is None
    assert not in_training(resumed.folder_of())
    resumed.run(PLACE)
    assert numbers(resumed.folder_of()) == expected


@pytest.mark.slow
def test_two_processes_never_train_the_same_run(bench, tokens, tmp_path):
    first = start(tokens, tmp_path / "shared")
    with first:
        assert first.stdout.readline().strip() == "5"
        assert rows_trained(bench, folder="shared") == []
    assert read_result(bench(folder="shared").folder_of())["status"] == "done"
    assert first.returncode == 0


def files_in(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def flip(file):
    """Flips one bit, of four rows in the third."""
    content = bytearray(file.read_bytes())
    content[5 * len(content) // 8] ^= 1
    file.write_bytes(content)


DAMAGES = {
    "truncated": lambda file: os.truncate(file, file.stat().st_size // 2),
    "emptied": lambda file: os.truncate(file, 0),
    "removed": lambda file: file.unlink(),
    "flipped": flip,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over(here, bench, expected, damage, caplog):
    folder = here.folder_of()
    (folder / "result.json").unlink()
    for file in sorted((folder / "checkpoints" / "20").rglob("*")):
        if file.is_file() and file.stat().st_size:
            DAMAGES[damage](file)
    for aside in ("20", "20-2"):
        damaged_files = files_in(folder / "checkpoints" / "20")
        bench().run(PLACE)
        assert numbers(folder) == expected
        assert f"moved to {folder}/checkpoints-damaged/{aside}, going on" in caplog.text
        assert files_in(folder / "checkpoints-damaged" / aside) == damaged_files
        (folder / "result.json").unlink()
        (folder / "checkpoints" / "20" / "state" / "_METADATA").unlink()


def test_a_checkpoint_of_another_run_is_passed_over(here, bench, expected, caplog):
    other = PLACE._replace(seed=PLACE.seed + 1)
    here.run(other)
    own = here.folder_of() / "checkpoints" / "20"
    shutil.rmtree(own)
    shutil.copytree(here.folder_of(other) / "checkpoints" / "20", own)
    (here.folder_of() / "result.json").unlink()
    bench().run(PLACE)
    assert "checkpoints/20 is damaged (it is of another run or step)" in caplog.text
    assert numbers(here.folder_of()) == expected


@pytest.mark.parametrize(
    ("name", "trained"), [("settings.json", 0), ("result.json", 0), ("metrics.jsonl", 2)]
)
def test_a_damaged_record_is_found_and_made_again(here, bench, expected, name, trained, caplog):
    path = here.folder_of() / name
    flip(path)
    assert len(rows_trained(bench)) == trained
    assert numbers(here.folder_of()) == expected
    assert read_record(here.folder_of()).settings == here.spec(PLACE).record()
    if name != "settings.json":
        assert f"{path.with_name('result.json')} is " in caplog.text
        assert "set aside as result.json.damaged" in caplog.text
    if trained:
        assert f"{path} is damaged after row 2: set aside as metrics.jsonl.damaged" in caplog.text


def refused_by_tensorstore(folder):
    """What TensorStore raises where the system refuses: nobody can open a link to itself."""
    (folder / "link").symlink_to("link")
    store = tensorstore.KvStore.open({"driver": "file", "path": f"{folder}/"}).result()
    with pytest.raises(ValueError, match="link") as raised:
        store.read("link").result()
    return raised.value


@pytest.mark.parametrize("by", ["the file system", "tensorstore"])
def test_a_checkpoint_that_the_system_does_not_let_be_read_is_kept(
    here, bench, expected, monkeypatch, tmp_path, by
):
    (here.folder_of() / "result.json").unlink()
    folder = here.folder_of() / "checkpoints"
    kept = files_in(folder)
    number = errno.ELOOP if by == "tensorstore" else errno.ESTALE
    error = refused_by_tensorstore(tmp_path) if by == "tensorstore" else OSError(number, "stale")

    def refused(*_):
        # As Orbax wraps whatever it meets.
        raise KeyError("state") from error

    with monkeypatch.context() as patch:
        patch.setattr(ocp.training.Checkpointer, "load", refused)
        with pytest.raises(
            UserError, match=rf"checkpoints/20: .* cannot be read \({os.strerror(number)}\); mend"
        ):
            here.run(PLACE)
    assert files_in(folder) == kept
    assert rows_trained(bench) == []
    assert numbers(here.folder_of()) == expected


def test_processes_that_share_a_run_wait_for_its_lock_together(bench, monkeypatch):
    result = {"status": "done"}
    answers = [False, False, True, result]
    monkeypatch.setattr(processes, "is_first", lambda: False)
    monkeypatch.setattr(processes, "agree", lambda _: answers.pop(0))
    assert bench().run(PLACE)[1] == result
    assert answers == []


def test_a_row_that_was_cut_short_is_passed_over(here, expected):
    folder = here.folder_of()
    (folder / "result.json").unlink()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 25, "lo')
    here.run(PLACE)
    assert numbers(folder) == expected


def test_a_run_that_diverges_ends_alone_and_where_it_did_after_a_kill(bench):
    here = bench(changed(trunk_learning_rate=1e4))
    _, bad = here.run(PLACE)
    assert bad["status"] == "diverged"
    assert bad["steps"] < TRAINING.steps
    assert "test_loss" not in bad
    assert bench().run(PLACE)[1]["status"] == "done"
    (here.folder_of() / "result.json").unlink()
    _, again = here.run(PLACE)
    assert (again["status"], again["steps"]) == ("diverged", bad["steps"])


def test_retrain_forgets_what_is_there_and_finds_the_same_numbers(here, bench, expected):
    assert len(rows_trained(bench, retrain=True)) == 4
    assert numbers(here.folder_of()) == expected


def test_runs_that_differ_in_rates_and_seeds_alone_share_a_program(here, monkeypatch):
    made = []
    monkeypatch.setattr(
        runs, "compile_program", lambda *all_: made.append(1) or compile_program(*all_)
    )
    for seed, rate in ((8, 0.5), (9, 0.1)):
        here.run(PLACE._replace(cell=Cell(rate), seed=seed))
    assert len(made) == 1


def test_the_key_changes_with_all_that_the_numbers_depend_on_and_with_nothing_else(bench):
    here = bench()
    spec = here.spec(PLACE)
    others = [
        here.spec(PLACE._replace(seed=4)),
        here.spec(PLACE._replace(width=8)),
        here.spec(PLACE._replace(cell=Cell(0.25))),
        here.spec(PLACE._replace(variant="adam_star_normalized")),
        here.spec(PLACE._replace(trunk_factor=2.0)),
        here.spec(PLACE._replace(role="tuning")),
        bench(changed(b2=0.9)).spec(PLACE),
    ]
    assert len({spec.key, *(other.key for other in others)}) == 1 + len(others)
    on_two_devices = TRAINING.mesh.model_copy(update={"data": 2})
    for same in (changed(checkpoint_every=5), changed(mesh=on_two_devices)):
        assert bench(same).spec(PLACE).key == spec.key


FULL_DISK = (UserError, r"\(No space left on device\); mend that and run")
BARE = OSError(28, "No space left on device")
FULL_DEVICE = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 GiB")


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(28, "No space left on device"), FULL_DISK),
        (BARE, FULL_DISK),
        (ValueError("RESOURCE_EXHAUSTED: Writing \"/a\" [os_error_code='28']"), FULL_DISK),
        (FULL_DEVICE, (jax.errors.JaxRuntimeError, "9 GiB")),
    ],
)
def test_a_full_disk_is_one_line_and_nothing_is_lost(bench, expected, monkeypatch, error, raised):
    def full(self, step, state, **_):
        if error is BARE:
            raise error
        # As Orbax wraps whatever it meets.
        raise KeyError("state") from error

    here = bench()
    with monkeypatch.context() as patch:
        patch.setattr(ocp.training.Checkpointer, "save_async", full)
        with pytest.raises(raised[0], match=raised[1]):
            here.run(PLACE)
    here.run(PLACE)
    assert numbers(here.folder_of()) == expected


CHUNK, STEPS, BLOWN_UP_AT = 10, 120, 15


class LosingProgram:
    """Losses of 1 a step, and of 100 from one step on."""

    def train(self, state, hyperparameters, tokens):
        losses = np.where(np.arange(state.step, state.step + CHUNK) < BLOWN_UP_AT, 1.0, 100.0)
        return SimpleNamespace(step=state.step + CHUNK), {"loss": losses}

    def probe(self, state, tokens):
        return {}


class ListJournal:
    """Keeps rows and the steps of its states."""

    def __init__(self):
        self.kept, self.saved = [], []

    def rows(self):
        return self.kept

    def append(self, row):
        self.kept.append(row)

    def save(self, step, state):
        self.saved.append(step)


@pytest.mark.parametrize("checkpoint_every", [10, 20, 30, 40, 120])
def test_divergence_is_found_at_one_step_however_often_a_state_is_kept(checkpoint_every):
    training = SimpleNamespace(
        steps=STEPS, log_every=CHUNK, checkpoint_every=checkpoint_every, divergence_factor=2.0
    )
    batches = SimpleNamespace(chunk=lambda first, count: np.zeros((count, 1, 3), np.int32))
    journal = ListJournal()
    start = SimpleNamespace(step=0)
    outcome = train(LosingProgram(), training, None, batches, start, journal, lambda row: None)
    assert (outcome.status, outcome.step) == ("diverged", 20)
    assert [row["step"] for row in journal.kept] == [10, 20]
    assert all(step < BLOWN_UP_AT for step in journal.saved)
