# SPDX-License-Identifier: Apache-2.0
"""What was leased is what JAX runs on, or nothing is trained."""

import os
import platform

import jax
import pytest

from infwidth import pins
from infwidth.config.errors import UserError
from infwidth.training import devices


@pytest.fixture
def machine(monkeypatch):
    """Sets a machine up that has GPUs or a TPU, on which JAX finds a backend."""
    for name in (
        *("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"),
        *("JAX_PLATFORMS", "XLA_FLAGS", "NPROC", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
        "OPENBLAS_CORETYPE",
    ):
        # Set first, so that what set_up itself sets is undone.
        monkeypatch.setenv(name, "")

    def make(gpus, tpu, backend):
        monkeypatch.setattr(devices, "gpu_count", lambda: gpus)
        monkeypatch.setattr(devices, "lease", lambda count: ["GPU-aaaa"] * count)
        monkeypatch.setattr(devices, "lease_tpu", lambda: tpu)
        monkeypatch.setattr(devices, "join", lambda gpus: None)
        monkeypatch.setattr(jax, "default_backend", lambda: backend)

    return make


@pytest.mark.parametrize(
    ("gpus", "tpu", "words"),
    [(2, False, r"GPUs \(1\) .* ENV=cuda"), (0, True, "a TPU .* ENV=tpu")],
)
def test_a_cpu_in_place_of_what_was_leased_is_an_error(machine, tmp_path, gpus, tpu, words):
    machine(gpus, tpu, "cpu")
    with pytest.raises(UserError, match=words) as error:
        devices.set_up(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("gpus", "tpu", "backend"), [(2, False, "gpu"), (0, True, "tpu"), (0, False, "cpu")]
)
def test_a_process_runs_on_what_it_leased(machine, tmp_path, gpus, tpu, backend):
    machine(gpus, tpu, backend)
    assert devices.set_up(tmp_path) == (pins.cpu() if backend == "cpu" else backend)


@pytest.mark.parametrize(
    ("has_avx2", "kind", "openblas"),
    [(True, "cpu", "Haswell"), (False, f"cpu-{platform.machine()}", "")],
)
def test_a_cpu_is_held_to_avx2_where_it_has_that(
    machine, tmp_path, monkeypatch, has_avx2, kind, openblas
):
    monkeypatch.setattr(pins, "has_avx2", lambda: has_avx2)
    # As a machine hands them on that has AVX2.
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX2")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    machine(0, False, "cpu")
    assert devices.set_up(tmp_path) == kind
    assert os.environ.get("OPENBLAS_CORETYPE", "") == openblas
    assert ("--xla_cpu_max_isa=AVX2" in os.environ["XLA_FLAGS"]) is has_avx2


@pytest.mark.parametrize(
    ("named", "devices_of_a_run", "platforms"),
    [("cuda", 2, "cuda,cpu"), ("cuda,cpu", 2, "cuda,cpu"), ("", 2, ""), ("cuda", 1, "cuda")],
)
def test_where_several_devices_train_host_memory_can_be_drawn_in(
    machine, tmp_path, monkeypatch, named, devices_of_a_run, platforms
):
    monkeypatch.setenv("JAX_PLATFORMS", named)
    machine(2, False, "gpu")
    devices.set_up(tmp_path, devices_of_a_run)
    assert os.environ["JAX_PLATFORMS"] == platforms
