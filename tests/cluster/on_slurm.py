# SPDX-License-Identifier: Apache-2.0
"""The workflow on a real Slurm of one node, with what goes wrong there; `.ci/cluster` runs it.

Its name keeps it out of `make test`: it needs a Slurm (tests/cluster/node.sh) and .venv-cluster.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.workflow.conftest import ROOT, Checkout, copy_project

NODE = Path("/var/lib/infwidth-slurm")
BIN = ROOT / ".venv-cluster/bin"
CONFIG = ("--configfile", "config/smoke.yaml", str(ROOT / "tests/cluster/smoke.yaml"))
PROFILE = (
    *("--workflow-profile", "profiles/slurm", "--slurm-status-command", "squeue"),
    # Sooner than Slurm's users would like, since this one is ours.
    *("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"),
)
RUNS = Path("results/cluster/runs")
TIMES = ("device_seconds",)


def snakemake(checkout, *words):
    """Starts Snakemake of the cluster's environment in a checkout."""
    with (checkout.folder / "output.txt").open("w") as output:
        return subprocess.Popen(
            [str(BIN / "snakemake"), *words, *CONFIG],
            cwd=checkout.folder,
            # GPUs of this node are empty files.
            env={**checkout.environment, "JAX_PLATFORMS": "cpu"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def wait_until(found, process, seconds=900.0):
    """What `found` returns as soon as that is true, while a process runs."""
    end = time.monotonic() + seconds
    while not (result := found()):
        assert process.poll() is None, "Snakemake ended first"
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return result


def shown(job):
    """What Slurm says of a job, as a set of words."""
    command = ["scontrol", "show", "job", job]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def trainer(folder, command, job=None):
    """A process of `infwidth <command>` in a run that has a checkpoint: (process, run), or None.

    Of `job`, if that is named, then started once more.
    """
    if job and "Restarts=1" not in shown(job):
        return None
    for process in psutil.process_iter():
        try:
            if command not in process.cmdline() or process.cwd() != str(folder):
                continue
            if job and process.environ().get("SLURM_JOB_ID") != job:
                continue
            for file in process.open_files():
                run = Path(file.path).parent
                kept = (run / "checkpoints").glob("[0-9]*")
                if run.parent == folder / RUNS and any(step.name.isdigit() for step in kept):
                    return process, run
        except psutil.NoSuchProcess:
            continue
    return None


def rows(run):
    return (run / "metrics.jsonl").read_text().splitlines()


def results(checkout):
    """Every run's result, times aside."""
    found = {}
    for file in (checkout.folder / RUNS).glob("*/result.json"):
        result = json.loads(file.read_text())
        found[file.parent.name] = {k: v for k, v in result.items() if k not in TIMES}
    return found


def copy_of(checkout, place):
    folder = shutil.copytree(checkout.folder, place / "project", symlinks=True)
    return Checkout(folder)


def finish(checkout, *words):
    process = snakemake(checkout, *words, "--cores", "2")
    assert process.wait() == 0, (checkout.folder / "output.txt").read_text()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A checkout with the tokens that both take."""
    checkout = copy_project(tmp_path_factory.mktemp("prepared") / "project")
    finish(checkout, "results/cluster/data/tokens/manifest.json")
    return checkout


@pytest.fixture(scope="module")
def reference(prepared, tmp_path_factory):
    """The same configuration, run without Slurm."""
    checkout = copy_of(prepared, tmp_path_factory.mktemp("reference"))
    finish(checkout, "train")
    return checkout


@pytest.fixture(scope="module")
def slurm(prepared, tmp_path_factory):
    """The same on Slurm, with one fault of each kind on the way; and what was seen of them."""
    checkout = copy_of(prepared, tmp_path_factory.mktemp("slurm"))
    folder, seen = checkout.folder, {}
    process = snakemake(checkout, "train", *PROFILE)

    trains, run = wait_until(lambda: trainer(folder, "tune"), process)
    seen["job"] = trains.environ()["SLURM_JOB_ID"]
    seen["steps kept"] = max(int(f.name) for f in run.glob("checkpoints/*") if f.name.isdigit())
    seen["run"], seen["rows"] = run, rows(run)
    subprocess.run(["scontrol", "requeue", seen["job"]], check=True)
    # While it trains again: a controller that dies as it starts a job may hold that job for good.
    wait_until(lambda: trainer(folder, "tune", seen["job"]), process)
    # A controller that dies before it has saved what it did may forget the requeue afterwards.
    seen["shown"] = shown(seen["job"])
    daemon = NODE / "slurmctld.pid"
    os.kill(int(daemon.read_text()), signal.SIGKILL)
    time.sleep(5)
    subprocess.run(["slurmctld"], check=True)

    trains, run = wait_until(lambda: trainer(folder, "train"), process)
    seen["killed"] = trains.environ()["SLURM_JOB_ID"]
    trains.kill()
    seen["status"] = process.wait()
    seen["output"] = (folder / "output.txt").read_text()
    return checkout, seen


def test_the_numbers_are_those_of_a_run_without_slurm(reference, slurm):
    checkout, seen = slurm
    assert seen["status"] == 0, seen["output"]
    # 2 rates at the reference width of each variant, its trunk's, and 2 widths.
    assert len(results(reference)) >= 8
    assert results(checkout) == results(reference)


def test_a_job_that_is_requeued_goes_on_from_its_checkpoint(slurm):
    _, seen = slurm
    assert {"JobState=RUNNING", "Restarts=1"} <= seen["shown"]
    # Rows hold the seconds that they took, so those of before were not made again.
    before = [row for row in seen["rows"] if json.loads(row)["step"] <= seen["steps kept"]]
    assert len(before) > 0
    assert rows(seen["run"])[: len(before)] == before


def test_a_job_whose_process_is_killed_is_submitted_again(slurm):
    _, seen = slurm
    assert re.search(r"Error in rule train_widths", seen["output"])
    assert re.search(r"Trying to restart job \d+", seen["output"])
    assert f"SLURM jobid {seen['killed']}" in seen["output"]


def test_every_job_asks_slurm_for_a_gpu(slurm):
    jobs = subprocess.run(
        ["scontrol", "show", "job"], capture_output=True, text=True, check=True
    ).stdout
    asked = {
        re.search(r"Comment=rule_(tune|train_widths)_", job)[1]: "gres:gpu:1" in job
        for job in jobs.split("\n\n")
        if "Comment=rule_" in job
    }
    assert asked == {"tune": True, "train_widths": True}
