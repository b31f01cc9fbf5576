# SPDX-License-Identifier: Apache-2.0
"""Killed anywhere, the same command again completes, with the same numbers."""

import contextlib
import os
import signal
import time

import psutil
import pytest

from infwidth.stored import load_json

pytestmark = pytest.mark.slow

SMOKE = ("--configfile", "config/smoke.yaml")
TWO = ("--config", "lm_width={variants: [frozen, adam_star]}")
TRAIN = ("infwidth", "reproduce", "train", "--cores", "2", *SMOKE, *TWO)
TIMES = ("device_seconds",)


def losses(checkout, keys):
    """The numbers of every run of the paper's experiment that has ended, times aside."""
    folder = checkout.folder / "results/smoke/runs"
    files = [folder / key / "result.json" for key in keys]
    results = {file.parent.name: load_json(file) for file in files if file.exists()}
    return {
        key: {name: value for name, value in result.items() if name not in TIMES}
        for key, result in results.items()
    }


def wait_until(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def trainers(folder):
    """Processes that work in a folder."""
    found = []
    for process in psutil.process_iter(["cwd"]):
        if process.info["cwd"] == str(folder) and process.pid != os.getpid():
            found.append(process)
    return found


@pytest.mark.parametrize("signal_sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_workflow_that_was_stopped_goes_on(finished, fresh, signal_sent):
    runs = fresh.folder / "results/smoke/runs"
    process = fresh.start(*TRAIN)
    wait_until(lambda: len(list(runs.glob("*/result.json"))) >= 4)
    if signal_sent == signal.SIGKILL:
        for victim in [psutil.Process(process.pid), *psutil.Process(process.pid).children()]:
            victim.kill()
    elif signal_sent == signal.SIGINT:
        # As a terminal does: to every process of the group.
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0, output
    wait_until(lambda: trainers(fresh.folder) == [], 30)
    known = finished.lm_width_keys()
    before = losses(fresh, known)
    output = fresh.run(*TRAIN)
    keys = fresh.lm_width_keys()
    assert keys < known
    assert before.items() < losses(fresh, keys).items()
    assert losses(fresh, keys) == losses(finished, keys)
    assert fresh.planned("train", *TWO) == {}
    if signal_sent == signal.SIGKILL:
        assert "clearing the lock" in output


def tuning_process(folder):
    """A process that trains runs of `infwidth tune`, or None; its shell is not one."""
    for process in trainers(folder):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "tune" in process.cmdline() and "snakemake" not in process.cmdline():
                return process
    return None


def test_a_trainer_that_is_killed_fails_alone_and_the_next_run_completes(finished, fresh):
    process = fresh.start(*TRAIN)
    wait_until(lambda: tuning_process(fresh.folder))
    tuning_process(fresh.folder).kill()
    output, _ = process.communicate(timeout=240)
    assert process.returncode != 0, output
    fresh.run(*TRAIN)
    keys = fresh.lm_width_keys()
    assert losses(fresh, keys) == losses(finished, keys)


def test_the_second_of_two_waits_and_says_for_whom(checkout):
    first = checkout.start("infwidth", "reproduce", "--cores", "1", *SMOKE)
    lock = checkout.folder / "results/.reproduce.lock"
    wait_until(lambda: lock.exists() and str(first.pid) in lock.read_text())
    second = checkout.start("infwidth", "reproduce", "--cores", "1", *SMOKE)
    output, _ = second.communicate(timeout=120)
    first.communicate(timeout=120)
    assert (first.returncode, second.returncode) == (0, 0), output
    assert f"waiting for `make reproduce` (process {first.pid}, its Snakemake" in output
