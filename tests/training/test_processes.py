# SPDX-License-Identifier: Apache-2.0
"""Several processes with one run, and SIGTERM: real processes, real signals."""

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import pytest

from infwidth.config.errors import UserError
from infwidth.training import devices, processes
from infwidth.training.records import read_result, read_rows
from tests.training.conftest import numbers, on_cpus

CONFIG = """
name: test
model: {d_model: 8, layers: 1, heads: 2, context: 8}
training: {steps: 1000, warmup_steps: 2, batch_size: 4, evaluation_tokens: 200, log_every: 5,
  checkpoint_every: 500, trunk_learning_rate: 0.01, mesh: {data: 2, width: 2}}
lm_width: {widths: [4], reference_width: 4, seeds: [10], one_rate_seeds: 0}
optimizer_ablation: {contexts: []}
"""


class Trainers:
    """Starts `infwidth train` on four devices, by one process or by two that share them."""

    def __init__(self, folder, tokens):
        self._folder, self._tokens = folder, tokens
        (folder / "config.yaml").write_text(CONFIG)
        part = {"condition": "lm_width", "variant": "adam_star", "width": 4, "entries": []}
        tuned = part | {"selection": {"learning_rate": 0.5, "kappa": None}}
        (folder / "tuned.json").write_text(json.dumps({"parts": [tuned]}))

    def start(self, name, count):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        return [self._start(name, count, index, address) for index in range(count)]

    def _start(self, name, count, index, address):
        folder = self._folder
        paths = {
            "configfile": folder / "config.yaml",
            "tokens": self._tokens,
            "tuned": folder / "tuned.json",
            "runs": folder / name,
            "out": folder / f"{name}.json",
        }
        arguments = [word for key, path in paths.items() for word in (f"--{key}", str(path))]
        names = (processes.COORDINATOR, processes.COUNT, processes.INDEX)
        several = dict(zip(names, (address, str(count), str(index)), strict=True))
        command = (sys.executable, "-m", "infwidth", "train", "--part", "adam_star-4")
        return subprocess.Popen(
            [*command, *arguments],
            env=on_cpus(4 // count) | (several if count > 1 else {}),
            stderr=subprocess.PIPE,
            text=True,
        )

    def numbers(self, name):
        (run,) = (self._folder / name).iterdir()
        return numbers(run)

    def wait_for_rows(self, name):
        end = time.monotonic() + 120
        while not any(
            file.stat().st_size for file in (self._folder / name).glob("*/metrics.jsonl")
        ):
            assert time.monotonic() < end
            time.sleep(0.05)


def finish(trainers):
    texts = [process.communicate(timeout=240)[1] for process in trainers]
    return [process.returncode for process in trainers], texts


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tokens):
    """What one process measures that nothing disturbs."""
    trainers = Trainers(tmp_path_factory.mktemp("whole"), tokens)
    assert finish(trainers.start("whole", 1))[0] == [0]
    return trainers.numbers("whole")


@pytest.mark.slow
def test_sigterm_is_obeyed_and_costs_no_bit_in_one_process_and_in_two(tmp_path, tokens, whole):
    trainers = Trainers(tmp_path, tokens)
    for count in (1, 2):
        name = f"stopped{count}"
        started = trainers.start(name, count)
        trainers.wait_for_rows(name)
        # Of two, the one that writes no records: they must agree to stop.
        started[-1].send_signal(signal.SIGTERM)
        codes, texts = finish(started)
        assert codes == [143] * count, texts
        assert all("run the same command again to go on" in text for text in texts)
        (run,) = (tmp_path / name).iterdir()
        assert read_result(run) is None
        kept = [int(folder.name) for folder in (run / "checkpoints").iterdir()]
        assert kept == [read_rows(run)[-1]["step"]]
        assert finish(trainers.start(name, count))[0] == [0] * count
        assert trainers.numbers(name) == whole


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_others_and_the_run_goes_on(tmp_path, tokens, whole):
    trainers = Trainers(tmp_path, tokens)
    for victim in (0, 1):
        name = f"killed{victim}"
        started = trainers.start(name, 2)
        trainers.wait_for_rows(name)
        started[victim].kill()
        codes, texts = finish(started)
        code, text = codes[1 - victim], texts[1 - victim]
        assert codes[victim] == -signal.SIGKILL
        # JAX itself aborts a process that it finds alone, after up to 100 s, if none of its
        # sums has failed before.
        assert code in (1, -signal.SIGABRT), text
        if code == 1:
            assert "start all of them again" in text.splitlines()[-1]
            assert "Traceback" not in text
        assert finish(trainers.start(name, 2))[0] == [0, 0]
        assert trainers.numbers(name) == whole


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    with contextlib.suppress(FileNotFoundError):
        if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
            yield folder
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
            return
    pytest.skip("no disk may be mounted here")


@pytest.mark.slow
def test_a_run_that_fills_the_disk_is_one_line_and_goes_on_when_there_is_space(
    tmp_path, tokens, whole, small_disk
):
    trainers = Trainers(tmp_path, tokens)
    for count in (1, 2):
        name = f"disk/full{count}"
        free = shutil.disk_usage(small_disk).free
        (small_disk / "filler").write_bytes(bytes(free - 64 * 2**10))
        codes, texts = finish(trainers.start(name, count))
        # The others end as where a process is killed, and none waits for its like.
        assert codes[0] == 2, texts
        assert 0 not in codes
        # A thread of TensorStore may print, at any time, that its event loop was closed.
        [line] = re.findall("infwidth: .*No space left on device.*", texts[0])
        assert "run the same command again, it goes on" in line
        assert "/infwidth/" not in texts[0]
        (small_disk / "filler").unlink()
        assert finish(trainers.start(name, count))[0] == [0] * count
        assert trainers.numbers(name) == whole


THREE = (processes.COORDINATOR, processes.COUNT, processes.INDEX)


@pytest.mark.parametrize(
    ("given", "mistake"),
    [
        (("", "2", ""), "INFWIDTH_COORDINATOR is not set"),
        (("a:1", "2", "2"), "from 0 to"),
        (("a:1", "x", "0"), "INFWIDTH_PROCESSES (x) must be a whole number, 1 or more"),
        (("a:1", "2", "-1"), "INFWIDTH_PROCESS (-1) must be a whole number, 0 or more"),
        (("auto", "0", ""), "INFWIDTH_PROCESSES (0) must"),
        (("", "x", ""), "INFWIDTH_COORDINATOR is not set"),
    ],
)
def test_an_environment_that_does_not_say_who_is_who_is_refused(
    monkeypatch, tmp_path, given, mistake
):
    for name, value in zip(THREE, given, strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=re.escape(mistake)):
        devices.set_up(tmp_path, 2)


def test_processes_are_found_in_a_slurm_step_and_on_tpu_hosts(monkeypatch):
    told = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **words: told.append(words))
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    processes.join(0)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "localhost")
    processes.join(0)
    assert told == []
    with monkeypatch.context() as slurm:
        slurm.setenv("SLURM_STEP_NUM_TASKS", "4")
        assert processes.named_count() == 4
        # The GPUs that this process sees are all its own.
        processes.join(2)
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "host0,host1")
    processes.join(0)
    assert told == [{"local_device_ids": [0, 1]}, {}]
