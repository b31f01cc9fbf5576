# SPDX-License-Identifier: Apache-2.0
"""What a process takes out of its environment when it starts, so that numbers do not hang on it."""

import os
import platform
import site
import sys
from functools import cache
from pathlib import Path

_JAX_KEPT = (
    # Where it computes, and where compiled programs lie.
    *("JAX_PLATFORMS", "JAX_PLATFORM_NAME", "JAX_CUDA_VISIBLE_DEVICES", "JAX_ROCM_VISIBLE_DEVICES"),
    *("JAX_NUM_CPU_DEVICES", "JAX_COMPILATION_CACHE_", "JAX_PERSISTENT_CACHE_"),
    *("JAX_ENABLE_COMPILATION_CACHE", "JAX_RAISE_PERSISTENT_CACHE_ERRORS"),
    # How processes find each other.
    *("JAX_COORDINATOR_", "JAX_LOCAL_DEVICE_IDS", "JAX_PARTITION_INDEX", "JAX_SLICE_INDEX"),
    *("JAX_CPU_GET_", "JAX_CROSS_HOST_", "JAX_CHECK_PROXY_ENVS", "JAX_FORCE_TPU_INIT"),
    # What it says of itself.
    *("JAX_LOG_", "JAX_LOGGING_LEVEL", "JAX_DEBUG_LOG_MODULES", "JAX_EXPLAIN_CACHE_MISSES"),
    *("JAX_TRACEBACK_FILTERING", "JAX_DUMP_IR_", "JAX_DISTRIBUTED_DEBUG"),
    # What it refuses to compute.
    "JAX_NUMPY_",
)
"""Beginnings of the JAX_* variables that change no number; all others are as if unset."""

_NUMERIC = (
    *("JAX_", "JAX2TF_", "EAGER_CONSTANT_FOLDING", "CHECK_VMA", "MOCK_NUM_GPU_PROCESSES"),
    *("FLAX_", "NPY_DISABLE_", "NPY_ENABLE_", "NVIDIA_TF32_OVERRIDE", "LIBTPU_INIT_ARGS"),
    *("CUBLAS_", "CUDNN_", "TF_ENABLE_ONEDNN_OPTS", "TF_CUDNN_", "XLA_FLAGS", "OPENBLAS_CORETYPE"),
    *("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS"),
)
"""Beginnings of variables that may change numbers."""

_FLAGS_KEPT = (
    *("--xla_force_host_platform_device_count", "--xla_dump_", "--xla_gpu_cuda_data_dir"),
    "--xla_cpu_multi_thread_eigen=false",
)
"""Beginnings of the words of XLA_FLAGS that change no number."""

_AVX2 = ("--xla_cpu_max_isa=AVX2", "--xla_cpu_prefer_vector_width=256")
"""XLA's instructions on every x86 processor that has these, on newer ones too."""

_OPENBLAS = ("OPENBLAS_CORETYPE", "Haswell")
"""The like for linear algebra on the host."""

_THREADS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "MKL_NUM_THREADS"),
    *("BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
)


def pin_numerics() -> None:
    """Sets back what changes numbers; before anything imports JAX or NumPy, in every process.

    What a setting decides is not in the environment, what the platform is stands in a run's key.
    """
    flags = os.environ.get("XLA_FLAGS", "").split()
    held = _AVX2 if has_avx2() else ()
    kept = [flag for flag in flags if flag.startswith(_FLAGS_KEPT) or flag in held]
    dropped = [
        name
        for name in sorted(os.environ)
        if name.startswith(_NUMERIC)
        and not name.startswith(_JAX_KEPT)
        and not (name == "XLA_FLAGS" and kept == flags)
        and not (has_avx2() and (name, os.environ[name]) == _OPENBLAS)
    ]
    for name in dropped:
        del os.environ[name]
    if kept:
        os.environ["XLA_FLAGS"] = " ".join(kept)
    # Sums of linear algebra on the host hang on the number of threads.
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    if has_avx2():
        os.environ.update([_OPENBLAS])
    if dropped:
        print(f"infwidth: left out, as numbers would change: {', '.join(dropped)}", file=sys.stderr)


def pin_cpu() -> str:
    """Holds XLA's CPU backend to one thread and, where there is AVX2, to that; before it starts.

    Returns:
      What numbers then are of: "cpu", or "cpu-<machine>" where there is no AVX2.
    """
    os.environ["NPROC"] = "1"
    flags = os.environ.get("XLA_FLAGS", "").split()
    held = ("--xla_cpu_multi_thread_eigen=false", *(_AVX2 if has_avx2() else ()))
    os.environ["XLA_FLAGS"] = " ".join(dict.fromkeys([*flags, *held]))
    return cpu()


def cpu() -> str:
    """What `pin_cpu` returns."""
    return "cpu" if has_avx2() else f"cpu-{platform.machine()}"


@cache
def has_avx2() -> bool:
    """Whether this processor has AVX2 and FMA, as far as Linux tells."""
    try:
        return {"avx2", "fma"} <= set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return False


def own_packages() -> None:
    """Starts this command again where the environment put other packages before its own.

    PYTHONPATH keeps no more than the folder that this package was found in, and the packages of the
    user's home count only where this command is one of them.
    """
    clean = dict(os.environ)
    home = Path(__file__).parents[1]
    paths = clean.pop("PYTHONPATH", "").split(os.pathsep)
    if any(path and Path(path).resolve() == home for path in paths):
        clean["PYTHONPATH"] = str(home)
    clean.pop("PYTHONHOME", None)
    user = Path(site.getuserbase())
    if site.ENABLE_USER_SITE and not Path(sys.argv[0]).absolute().is_relative_to(user):
        clean["PYTHONNOUSERSITE"] = "1"
    if clean != dict(os.environ):
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], clean)
