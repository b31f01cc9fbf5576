# SPDX-License-Identifier: Apache-2.0
"""GPUs and a TPU are leased: tried with some that are not there."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE

import pytest

from infwidth.config.errors import UserError
from infwidth.training import lease as module
from infwidth.training.lease import gpu_count, lease, lease_tpu, on_tpu_host

_HOLD = """
import sys
from pathlib import Path
from infwidth.training import lease
def tpu(dev):
    lease.DEV = Path(dev)
    return [lease.lease_tpu(interval=0.05)]
print(*{}, flush=True)
sys.stdin.read()
"""
_HOLD_GPUS = _HOLD.format("lease.lease(int(sys.argv[1]), interval=0.05)")
_HOLD_TPU = _HOLD.format("tpu(sys.argv[1])")


@pytest.fixture
def two_gpus(monkeypatch, tmp_path):
    """A driver that lists two GPUs, and lock files of the test's own."""
    driver = tmp_path / "bin" / "nvidia-smi"
    driver.parent.mkdir()
    driver.write_text(
        "#!/bin/sh\n"
        'echo "GPU 0: NVIDIA H100 (UUID: GPU-aaaa)"\n'
        'echo "GPU 1: NVIDIA H100 (UUID: GPU-bbbb)"\n'
    )
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{driver.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for name in ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS"):
        # Set first, so that what the test itself sets is undone.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def tpu(monkeypatch, tmp_path):
    """A machine with a TPU's device files and its library, and lock files of the test's own."""
    (tmp_path / "libtpu.py").touch()
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/accel0").touch()
    monkeypatch.setattr(module, "DEV", tmp_path / "dev")
    monkeypatch.syspath_prepend(tmp_path)
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", paths)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for name in ("JAX_PLATFORMS", "TPU_VISIBLE_CHIPS", "TPU_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "dev"


@contextmanager
def job(count, code=_HOLD_GPUS):
    """A process that asks for GPUs, holds them, and is killed at the end."""
    command = [sys.executable, "-c", code, str(count)]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def held_by(process):
    """What it got, once it has."""
    return process.stdout.readline().strip()


def waits(process):
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)


def test_two_jobs_get_two_gpus_and_a_third_waits_for_one_that_dies(two_gpus):
    assert gpu_count() == 2
    with job(1) as first, job(1) as second:
        held = {held_by(process): process for process in (first, second)}
        assert held.keys() == {"GPU-aaaa", "GPU-bbbb"}
        with job(1) as third:
            waits(third)
            held["GPU-bbbb"].kill()
            assert held_by(third) == "GPU-bbbb"


def test_a_job_of_two_waits_until_both_are_free(two_gpus):
    with job(1) as one:
        held_by(one)
        with job(2) as both:
            waits(both)
            one.kill()
            assert held_by(both) == "GPU-aaaa GPU-bbbb"


def test_gpus_that_somebody_else_dealt_out_are_taken_as_they_are(two_gpus, monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert lease(1) == ["0"]
    assert not list(tmp_path.rglob("*.lock"))


def test_what_others_left_in_a_shared_folder_blocks_nobody(two_gpus, tmp_path):
    names = [f"infwidth-leases-{os.getuid()}-{number}" for number in range(3)]
    (tmp_path / names[0]).touch()
    (tmp_path / names[1]).symlink_to(tmp_path / "elsewhere")
    (tmp_path / names[2]).mkdir()
    (tmp_path / names[2]).chmod(0o777)
    with job(1) as first, job(1) as second:
        held = {held_by(process) for process in (first, second)}
    assert held == {"GPU-aaaa", "GPU-bbbb"}
    assert list((tmp_path / names[2]).iterdir()) == []


def test_more_gpus_than_there_are_is_an_error(two_gpus, monkeypatch):
    with pytest.raises(UserError, match="on 3 GPUs, but 2 are visible"):
        lease(3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,-1,1")
    with pytest.raises(UserError, match="on 2 GPUs, but 1 are visible"):
        lease(2)


def test_a_gpu_named_by_uuid_is_one_lease_to_all_jobs_of_slurm(two_gpus, monkeypatch):
    with job(2) as elsewhere:
        held_by(elsewhere)
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        with job(1) as inside:
            waits(inside)
            elsewhere.kill()
            assert held_by(inside) == "GPU-aaaa"


def test_gpu_0_of_two_jobs_of_slurm_may_be_two_gpus(two_gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with job(1) as first:
        assert held_by(first) == "0"
        monkeypatch.setenv("SLURM_JOB_ID", "8")
        with job(1) as other:
            assert held_by(other) == "0"


def test_a_tpu_is_one_jobs_and_a_second_waits_until_it_dies(tpu):
    with job(tpu, _HOLD_TPU) as first:
        assert held_by(first) == "True"
        with job(tpu, _HOLD_TPU) as second:
            waits(second)
            first.kill()
            assert held_by(second) == "True"


def test_chips_that_somebody_else_dealt_out_are_not_waited_for(tpu, monkeypatch):
    monkeypatch.setenv("TPU_VISIBLE_CHIPS", "0")
    assert lease_tpu()
    assert not list(tpu.parent.glob("*.lock"))


def test_a_tpu_is_where_its_library_and_its_device_files_are(tpu, monkeypatch):
    assert on_tpu_host()
    for platforms, there in (("cpu", False), ("cuda", False), ("tpu,cpu", True)):
        monkeypatch.setenv("JAX_PLATFORMS", platforms)
        assert on_tpu_host() is there
    monkeypatch.delenv("JAX_PLATFORMS")
    (tpu / "accel0").unlink()
    assert not on_tpu_host()
    (tpu / "vfio").mkdir()
    (tpu / "vfio/0").touch()
    assert on_tpu_host()
    Path(tpu.parent / "libtpu.py").unlink()
    module.importlib.invalidate_caches()
    assert not on_tpu_host()
