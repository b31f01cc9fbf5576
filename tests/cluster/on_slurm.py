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
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from infwidth.stored import load_json
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
TUNED = "results/cluster/lm_width/tuning/unfrozen-4.json"
TIMES = ("device_seconds",)
# A run that two devices share: two processes on Slurm, one with two devices without.
SHARED = ("--config", "training={mesh: {data: 2}, steps: 400}")
# A CPU each, since the node may have no more than two.
TWO_TASKS = (
    *("--set-threads", "tune=1"),
    *("--set-resources", "tune:mpi=srun", "tune:tasks=2", "tune:tasks_per_gpu=0"),
)
TWO_DEVICES = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}

# Seconds that anything here may take, and that the controller is away.
PATIENCE = 180
OUTAGE = 5

STARTED_AGAIN = {"JobState=RUNNING", "Restarts=1"}


@contextmanager
def snakemake(checkout, *words, variables=None):
    """Snakemake of the cluster's environment, at work in a checkout until this is left."""
    with (checkout.folder / "output.txt").open("w") as file:
        process = subprocess.Popen(
            [str(BIN / "snakemake"), *words, *CONFIG],
            cwd=checkout.folder,
            # GPUs of this node are empty files.
            env={**checkout.environment, "JAX_PLATFORMS": "cpu", **(variables or {})},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            # A Snakemake that is asked to end waits for its jobs. Slurm's are not its children.
            if process.poll() is None:
                for started in [process, *psutil.Process(process.pid).children(recursive=True)]:
                    with suppress(psutil.NoSuchProcess):
                        started.kill()
                process.wait()


def output(checkout):
    return (checkout.folder / "output.txt").read_text()


def end(process, checkout):
    """Waits for the end of Snakemake, which must be a good one."""
    try:
        status = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        status = f"none within {PATIENCE} s; Slurm: {slurm_says('squeue', '--states=all')}"
    assert status == 0, f"Snakemake's status: {status}\n{output(checkout)}"


def slurm_says(*command):
    """What a command of Slurm prints: nothing where it fails, as while the controller is away."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout


def shown(job):
    """What Slurm says of a job, as a set of words."""
    return set(slurm_says("scontrol", "show", "job", job).split())


def wait_until(what, found, process):
    """What `found` returns as soon as that is true, while Snakemake's process runs."""
    deadline = time.monotonic() + PATIENCE
    while not (result := found()):
        assert process.poll() is None, f"Snakemake ended before this: {what}"
        assert time.monotonic() < deadline, (
            f"waited {PATIENCE} s in vain: {what}; Slurm: {slurm_says('squeue', '--states=all')}"
        )
        time.sleep(0.05)
    return result


def under_way(process, folder):
    """The run in a checkout that a process is in the middle of, a checkpoint behind it; or None."""
    for file in process.open_files():
        run = Path(file.path).parent
        if run.parent == folder / RUNS and steps_kept(run):
            return run
    return None


def trainer(folder, command, job=None):
    """A process of `infwidth <command>`, stopped in the middle of a run: (process, run), or None.

    Of `job`, if that is named, then started once more. Being stopped, it cannot end the run before
    the harm is done.
    """
    if job and not shown(job) >= STARTED_AGAIN:
        return None
    for process in psutil.process_iter():
        try:
            if command not in process.cmdline() or process.cwd() != str(folder):
                continue
            if job and process.environ().get("SLURM_JOB_ID") != job:
                continue
            if under_way(process, folder):
                process.suspend()
                if run := under_way(process, folder):
                    return process, run
                process.resume()
        except psutil.NoSuchProcess:
            continue
    return None


def saved(mark):
    """Whether the controller has saved its jobs since one of them was given this mark."""
    try:
        return mark.encode() in (NODE / "ctld/job_state").read_bytes()
    except FileNotFoundError:  # It is just being replaced.
        return False


def steps_kept(run):
    """The steps of a run's checkpoints."""
    return [int(file.name) for file in run.glob("checkpoints/*") if file.name.isdigit()]


def rows(run):
    return (run / "metrics.jsonl").read_text().splitlines()


def results(checkout):
    """Every run's result, times aside."""
    found = {}
    for file in (checkout.folder / RUNS).glob("*/result.json"):
        result = load_json(file)
        found[file.parent.name] = {k: v for k, v in result.items() if k not in TIMES}
    return found


def copy_of(checkout, place):
    folder = shutil.copytree(checkout.folder, place / "project", symlinks=True)
    return Checkout(folder)


def finish(checkout, *words, variables=None):
    with snakemake(checkout, *words, variables=variables) as process:
        end(process, checkout)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A checkout with the tokens that both take."""
    checkout = copy_project(tmp_path_factory.mktemp("prepared") / "project")
    finish(checkout, "results/cluster/data/tokens/manifest.json", "--cores", "2")
    return checkout


@pytest.fixture(scope="module")
def reference(prepared, tmp_path_factory):
    """The same configuration, run without Slurm."""
    checkout = copy_of(prepared, tmp_path_factory.mktemp("reference"))
    finish(checkout, "train", "--cores", "2")
    return checkout


@pytest.fixture(scope="module")
def slurm(prepared, tmp_path_factory):
    """The same on Slurm, with one fault of each kind on the way; and what was seen of them."""
    checkout = copy_of(prepared, tmp_path_factory.mktemp("slurm"))
    folder, seen = checkout.folder, {}

    # One job alone, at first. A controller saves what changed within some seconds, and forgets what
    # it had not saved when it dies. While this one job trains, nothing else changes.
    with snakemake(checkout, TUNED, *PROFILE) as process:
        trains, run = wait_until("a job tunes", lambda: trainer(folder, "tune"), process)
        seen["job"] = job = trains.environ()["SLURM_JOB_ID"]
        seen["run"], seen["rows"], seen["steps kept"] = run, rows(run), max(steps_kept(run))
        subprocess.run(["scontrol", "requeue", job], check=True, timeout=60)
        trains, _ = wait_until(
            "the job trains again", lambda: trainer(folder, "tune", job), process
        )
        mark = f"infwidth-{job}-trains-again"
        change = ["scontrol", "update", f"JobId={job}", f"AdminComment={mark}"]
        subprocess.run(change, check=True, timeout=60)
        wait_until("the controller saves the job", lambda: saved(mark), process)
        os.kill(int((NODE / "slurmctld.pid").read_text()), signal.SIGKILL)
        trains.resume()
        time.sleep(OUTAGE)
        subprocess.run(["slurmctld"], check=True, timeout=60)
        end(process, checkout)
    seen["requeued"] = shown(job)

    with snakemake(checkout, "train", *PROFILE) as process:
        trains, _ = wait_until("a job trains widths", lambda: trainer(folder, "train"), process)
        seen["killed"] = trains.environ()["SLURM_JOB_ID"]
        trains.kill()
        end(process, checkout)
    seen["output"] = output(checkout)
    return checkout, seen


def test_the_numbers_are_those_of_a_run_without_slurm(reference, slurm):
    checkout, _ = slurm
    # Of two variants, each in a job of its own, two rates and the reported run.
    assert len(results(reference)) == 6
    assert results(checkout) == results(reference)


def test_a_job_that_is_requeued_goes_on_from_its_checkpoint(slurm):
    _, seen = slurm
    # The controller that was killed afterwards knows of it, too.
    assert {"JobState=COMPLETED", "Restarts=1"} <= seen["requeued"]
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


def test_two_processes_of_a_job_share_a_run(prepared, tmp_path):
    alone, together = (copy_of(prepared, tmp_path / name) for name in ("alone", "together"))
    finish(alone, TUNED, "--cores", "2", *SHARED, variables=TWO_DEVICES)
    finish(together, TUNED, *PROFILE, *SHARED, *TWO_TASKS, "tune:gpu=2")
    job = re.search(r"rule tune:.*?SLURM jobid (\d+)", output(together), re.DOTALL)[1]
    assert {"NumTasks=2", "TresPerJob=gres:gpu:2", "JobState=COMPLETED"} <= shown(job)
    assert len(results(alone)) == 2
    assert results(together) == results(alone)
