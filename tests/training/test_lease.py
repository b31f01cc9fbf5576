# SPDX-License-Identifier: Apache-2.0
"""GPUs are leased: tried with a list of GPUs that are not there."""

import os
import subprocess
import sys

import pytest

from infwidth.config.errors import UserError
from infwidth.training.lease import gpu_count, lease

_HOLD = """
import sys
from infwidth.training.lease import lease
print(*lease(int(sys.argv[1]), interval=0.05), flush=True)
sys.stdin.read()
"""


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


def job(count):
    return subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_jobs_get_two_gpus_and_a_third_waits_for_one_that_dies(two_gpus):
    assert gpu_count() == 2
    with job(1) as first, job(1) as second:
        held = {process.stdout.readline().strip(): process for process in (first, second)}
        assert held.keys() == {"GPU-aaaa", "GPU-bbbb"}
        with job(1) as third:
            with pytest.raises(subprocess.TimeoutExpired):
                third.wait(timeout=0.5)
            held["GPU-bbbb"].kill()
            assert third.stdout.readline().strip() == "GPU-bbbb"
            third.kill()
        first.kill()
        second.kill()


def test_a_job_of_two_waits_until_both_are_free(two_gpus):
    with job(1) as one:
        one.stdout.readline()
        with job(2) as both:
            with pytest.raises(subprocess.TimeoutExpired):
                both.wait(timeout=0.5)
            one.kill()
            assert both.stdout.readline().split() == ["GPU-aaaa", "GPU-bbbb"]
            both.kill()


def test_gpus_that_somebody_else_dealt_out_are_taken_as_they_are(two_gpus, monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert lease(1) == ["0"]
    assert not list(tmp_path.glob("*.lock"))


def test_more_gpus_than_there_are_is_an_error(two_gpus, monkeypatch):
    with pytest.raises(UserError, match="on 3 GPUs, but 2 are visible"):
        lease(3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,-1,1")
    with pytest.raises(UserError, match="on 2 GPUs, but 1 are visible"):
        lease(2)
