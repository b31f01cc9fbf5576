# SPDX-License-Identifier: Apache-2.0
"""Runs: cached, resumed to the bit, never reused wrongly, and ended alone when they diverge."""

import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
import tensorstore
from orbax.checkpoint import v1 as ocp

from infwidth.config.errors import UserError
from infwidth.config.variants import VARIANTS
from infwidth.data.batches import Batches
from infwidth.stats.selection import Cell
from infwidth.stored import load_json
from infwidth.training import processes
from infwidth.training.records import read_record, read_result, read_rows
from infwidth.training.runs import in_training
from infwidth.training.step import compile_program
from tests.training.conftest import MODEL, PLACE, TRAINING

TIMES = {"seconds", "tokens_per_s"}


def numbers(folder):
    """All that a run measured, times of day aside."""
    rows = [{k: v for k, v in row.items() if k not in TIMES} for row in read_rows(folder)]
    result = {k: v for k, v in read_result(folder).items() if k != "device_seconds"}
    return rows, result


def folder_of(bench, place=PLACE):
    return bench.runs._folder / bench.spec(place).key


def test_a_run_is_trained_once(bench):
    rows = []
    first = bench(report=lambda _, row: rows.append(row))
    _, result = first.run(PLACE)
    assert [row["step"] for row in rows] == [5, 10, 15, 20]
    again = bench(report=lambda _, row: rows.append(row))
    assert again.run(PLACE)[1] == result
    assert len(rows) == 4


def test_a_row_says_what_a_reader_of_the_journal_needs(bench):
    here = bench()
    here.run(PLACE)
    row = read_rows(folder_of(here))[-1]
    assert {"step", "loss", "tokens_per_s", "learning_rate/trunk", "learning_rate/readout"} <= set(
        row
    )
    assert {"update_rms/trunk", "update_rms/readout", "blocks/0/mlp"} <= set(row)


def test_the_result_scores_every_document_of_the_test_split(bench):
    _, result = bench().run(PLACE)
    documents = result["test_documents"]
    total = math.fsum(documents["loss_sum"]) / sum(documents["tokens"])
    assert result["test_loss"] == pytest.approx(total, rel=1e-12)
    assert 0 < result["test_loss"] < math.log(258) * 1.2


def test_sgds_unit_is_of_the_gradients_of_eight_batches(bench):
    here, place = bench(), PLACE._replace(variant="ntk")
    _, result = here.run(place)
    program = compile_program(MODEL, TRAINING, VARIANTS["ntk"], 4, here.vocabulary_size)
    batches = Batches(here.runs._dataset.split("train"), MODEL.context, TRAINING.batch_size, 3)
    gradients = [program.functional_gradients(program.init(3), batches.at(k)) for k in range(8)]
    squares = [np.mean(np.square(g)) for of_batch in gradients for g in of_batch.values()]
    assert result["rate_unit"] == pytest.approx(np.mean(squares) ** -0.5, rel=1e-5)


def test_tuning_never_reads_the_test_split(bench):
    _, result = bench().run(PLACE._replace(role="tuning"))
    assert "validation_loss" in result
    assert not any("test" in key for key in result)


def test_a_run_that_is_interrupted_goes_on_and_ends_with_the_same_bits(bench):
    whole = bench(folder="whole")
    whole.run(PLACE)

    class Stop(Exception):
        pass

    def stop_at(step):
        def report(_, row):
            if row["step"] == step:
                raise Stop

        return report

    for step in (5, 15, 20):
        name = f"stopped at {step}"
        with pytest.raises(Stop):
            bench(report=stop_at(step), folder=name).run(PLACE)
        resumed = bench(folder=name)
        resumed.run(PLACE)
        assert numbers(folder_of(resumed)) == numbers(folder_of(whole))


_TRAIN_SLOWLY = """
import sys, time
from pathlib import Path
from infwidth.data.tokens import TokenDataset
from infwidth.experiments.lm_width.measure import Bench
from infwidth.training.runs import Runs
from tests.training.conftest import MODEL, PLACE, TRAINING
dataset = TokenDataset.open(Path(sys.argv[1]))
def report(spec, row):
    print(row["step"], flush=True)
    time.sleep(0.2)
runs = Runs(Path(sys.argv[2]), dataset, False, report)
Bench(runs, MODEL, TRAINING, dataset.digest, dataset.vocabulary_size, "cpu").run(PLACE)
"""


def start(tokens, folder):
    return subprocess.Popen(
        [sys.executable, "-c", _TRAIN_SLOWLY, str(tokens), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )


@pytest.mark.slow
def test_sigkill_costs_no_bit_and_frees_the_run(bench, tokens, tmp_path):
    whole = bench(folder="whole")
    whole.run(PLACE)
    process = start(tokens, tmp_path / "killed")
    resumed = bench(folder="killed")
    with process:
        for line in process.stdout:
            if line.strip() == "15":
                assert in_training(folder_of(resumed))
                process.send_signal(signal.SIGKILL)
                break
    assert read_result(folder_of(resumed)) is None
    assert not in_training(folder_of(resumed))
    resumed.run(PLACE)
    assert numbers(folder_of(resumed)) == numbers(folder_of(whole))


@pytest.mark.slow
def test_two_processes_never_train_the_same_run(bench, tokens, tmp_path):
    first = start(tokens, tmp_path / "shared")
    with first:
        assert first.stdout.readline().strip() == "5"
        rows = []
        shared = bench(folder="shared", report=lambda _, row: rows.append(row))
        _, result = shared.run(PLACE)
    assert rows == []
    assert result["status"] == "done"
    assert first.returncode == 0


@pytest.mark.parametrize("damage", ["truncated", "emptied", "removed", "flipped"])
def test_a_damaged_checkpoint_is_passed_over(bench, damage, caplog):
    whole = bench(folder="whole")
    whole.run(PLACE)
    damaged = bench(folder="damaged")
    damaged.run(PLACE)
    folder = folder_of(damaged)
    (folder / "result.json").unlink()
    for file in sorted((folder / "checkpoints" / "20").rglob("*")):
        if file.is_file() and file.stat().st_size:
            if damage == "truncated":
                os.truncate(file, file.stat().st_size // 2)
            elif damage == "emptied":
                os.truncate(file, 0)
            elif damage == "flipped":
                flip(file)
            else:
                file.unlink()
    for aside in ("20", "20-2"):
        damaged_files = files_in(folder / "checkpoints" / "20")
        again = bench(folder="damaged")
        again.run(PLACE)
        assert numbers(folder) == numbers(folder_of(whole))
        assert f"moved to {folder}/checkpoints-damaged/{aside}, going on" in caplog.text
        assert files_in(folder / "checkpoints-damaged" / aside) == damaged_files
        (folder / "result.json").unlink()
        (folder / "checkpoints" / "20" / "state" / "_METADATA").unlink()


def flip(file):
    """Flips one bit, of four rows in the third."""
    content = bytearray(file.read_bytes())
    content[5 * len(content) // 8] ^= 1
    file.write_bytes(content)


def test_a_checkpoint_of_another_run_is_passed_over(bench, caplog):
    here = bench()
    here.run(PLACE)
    before = numbers(folder_of(here))
    here.run(PLACE._replace(seed=PLACE.seed + 1))
    own = folder_of(here) / "checkpoints" / "20"
    [other] = {*own.parents[2].glob("*/checkpoints/20")} - {own}
    shutil.rmtree(own)
    shutil.copytree(other, own)
    (folder_of(here) / "result.json").unlink()
    bench().run(PLACE)
    assert "checkpoints/20 is damaged (it is of another run or step)" in caplog.text
    assert numbers(folder_of(here)) == before


@pytest.mark.parametrize(
    ("name", "trained"), [("settings.json", 0), ("result.json", 0), ("metrics.jsonl", 2)]
)
def test_a_damaged_record_is_found_and_made_again(bench, name, trained, caplog):
    here = bench()
    here.run(PLACE)
    before, path = numbers(folder_of(here)), folder_of(here) / name
    flip(path)
    rows = []
    bench(report=lambda _, row: rows.append(row)).run(PLACE)
    assert len(rows) == trained
    assert numbers(folder_of(here)) == before
    assert read_record(folder_of(here)).settings == here.spec(PLACE).record()
    if name != "settings.json":
        assert f"{path.with_name('result.json')} is " in caplog.text
        assert "set aside as result.json.damaged" in caplog.text
    if trained:
        assert f"{path} is damaged after row 2: set aside as metrics.jsonl.damaged" in caplog.text


def files_in(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def refused_by_tensorstore(folder):
    """What TensorStore raises where the system refuses: nobody can open a link to itself."""
    (folder / "link").symlink_to("link")
    store = tensorstore.KvStore.open({"driver": "file", "path": f"{folder}/"}).result()
    with pytest.raises(ValueError, match="link") as raised:
        store.read("link").result()
    return raised.value


@pytest.mark.parametrize("by", ["the file system", "tensorstore"])
def test_a_checkpoint_that_the_system_does_not_let_be_read_is_kept(
    bench, monkeypatch, tmp_path, by
):
    whole = bench(folder="whole")
    whole.run(PLACE)
    here = bench(folder="here")
    here.run(PLACE)
    (folder_of(here) / "result.json").unlink()
    folder = folder_of(here) / "checkpoints"
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
            bench(folder="here").run(PLACE)
    assert files_in(folder) == kept
    rows = []
    bench(folder="here", report=lambda _, row: rows.append(row)).run(PLACE)
    assert rows == []
    assert numbers(folder_of(here)) == numbers(folder_of(whole))


def test_processes_that_share_a_run_wait_for_its_lock_together(bench, monkeypatch):
    result = {"status": "done"}
    answers = [False, False, True, result]
    monkeypatch.setattr(processes, "is_first", lambda: False)
    monkeypatch.setattr(processes, "agree", lambda _: answers.pop(0))
    assert bench().run(PLACE)[1] == result
    assert answers == []


def test_a_row_that_was_cut_short_is_passed_over(bench):
    here = bench()
    here.run(PLACE)
    before = numbers(folder_of(here))
    folder = folder_of(here)
    (folder / "result.json").unlink()
    text = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(text + '{"step": 25, "lo')
    bench().run(PLACE)
    assert numbers(folder) == before


def test_a_run_that_diverges_ends_alone(bench):
    here = bench(TRAINING.model_copy(update={"trunk_learning_rate": 1e4}))
    _, bad = here.run(PLACE)
    assert bad["status"] == "diverged"
    assert bad["steps"] < TRAINING.steps
    assert "test_loss" not in bad
    _, good = bench().run(PLACE)
    assert good["status"] == "done"


def test_divergence_is_found_again_after_a_kill(bench):
    training = TRAINING.model_copy(update={"trunk_learning_rate": 1e4})
    whole = bench(training)
    _, result = whole.run(PLACE)
    (folder_of(whole) / "result.json").unlink()
    _, again = bench(training).run(PLACE)
    assert (again["status"], again["steps"]) == (result["status"], result["steps"])


def test_retrain_forgets_what_is_there_and_finds_the_same_numbers(bench):
    here = bench()
    here.run(PLACE)
    before = numbers(folder_of(here))
    rows = []
    bench(retrain=True, report=lambda _, row: rows.append(row)).run(PLACE)
    assert len(rows) == 4
    assert numbers(folder_of(here)) == before


def test_learning_rates_and_seeds_compile_nothing_anew(bench):
    here = bench()
    here.run(PLACE)
    program = here.runs._program(MODEL, TRAINING, here_variant(), PLACE.width, here.vocabulary_size)
    compiled = program._jitted_train._cache_size()
    here.run(PLACE._replace(cell=Cell(0.1), seed=9))
    assert program._jitted_train._cache_size() == compiled == 1


def here_variant():
    from infwidth.config.variants import Variant

    return Variant("fixed", "adam_star", "", "")


def test_the_key_changes_with_all_that_the_numbers_depend_on(bench):
    here = bench()
    spec = here.spec(PLACE)
    others = [
        here.spec(PLACE._replace(seed=4)),
        here.spec(PLACE._replace(width=8)),
        here.spec(PLACE._replace(cell=Cell(0.25))),
        here.spec(PLACE._replace(variant="adam_star_normalized")),
        here.spec(PLACE._replace(trunk_factor=2.0)),
        here.spec(PLACE._replace(role="tuning")),
        bench(TRAINING.model_copy(update={"b2": 0.9})).spec(PLACE),
    ]
    assert len({spec.key, *(other.key for other in others)}) == 1 + len(others)


def test_the_key_does_not_change_with_how_often_a_run_is_kept(bench):
    often = bench(TRAINING.model_copy(update={"checkpoint_every": 5}))
    assert often.spec(PLACE).key == bench().spec(PLACE).key


def test_the_settings_beside_a_run_are_those_of_its_key(bench):
    here = bench()
    here.run(PLACE)
    written = load_json(folder_of(here) / "settings.json")
    assert written == json.loads(json.dumps(here.spec(PLACE).record()))


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        ValueError("RESOURCE_EXHAUSTED: Failed writing: \"/a\" [os_error_code='28']"),
    ],
)
def test_a_full_disk_is_one_line_and_nothing_is_lost(bench, monkeypatch, error):
    whole = bench(folder="whole")
    whole.run(PLACE)

    def full(self, step, state, **_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(ocp.training.Checkpointer, "save_async", full)
        with pytest.raises(UserError, match=r"\(No space left on device\); mend that and run"):
            bench(folder="full").run(PLACE)
    resumed = bench(folder="full")
    resumed.run(PLACE)
    assert numbers(folder_of(resumed)) == numbers(folder_of(whole))


def test_a_full_device_is_not_taken_for_a_full_disk(bench, monkeypatch):
    def full(self, step, state, **_):
        raise KeyError("state") from jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 GiB")

    monkeypatch.setattr(ocp.training.Checkpointer, "save_async", full)
    with pytest.raises(jax.errors.JaxRuntimeError, match="9 GiB"):
        bench().run(PLACE)
