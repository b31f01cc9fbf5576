# SPDX-License-Identifier: Apache-2.0
"""Sets a training process up, before JAX is imported: one thread on a CPU, GPUs of its own."""

import os
import warnings
from pathlib import Path

from infwidth.config.errors import UserError
from infwidth.pins import pin_cpu, pin_numerics
from infwidth.training.lease import gpu_count, lease, lease_tpu
from infwidth.training.processes import join, named_count


def set_up(compile_cache: Path, devices: int = 1) -> str:
    """Prepares this process for training; call it before anything imports JAX or NumPy.

    On a CPU the process runs on one thread: models this small use the cores best as processes side
    by side, and their numbers then do not depend on the machine's number of cores. Where there are
    GPUs it leases as many as it needs, and where there is a TPU the whole of it.

    Args:
      compile_cache: folder where compiled programs are kept between processes.
      devices: how many devices each run takes, in all processes that share it.

    Returns:
      "cpu", "gpu" or "tpu"; "cpu-<machine>" on a CPU without AVX2.

    Raises:
      UserError: there are fewer devices, the environment names the processes badly, or JAX runs on
        the CPU in spite of what was leased.
    """
    pin_numerics()
    own = -(-devices // named_count()) if devices > 1 else 1
    gpus = len(lease(own)) if gpu_count() else 0
    tpu = not gpus and lease_tpu()
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(compile_cache.absolute()))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    # A full disk costs the cache and no more; the run itself says so where it matters.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation")
    kind = "" if gpus or tpu else pin_cpu()
    if devices > 1:
        join(gpus)
        # Several devices draw their state in host memory, which is the CPU's as JAX has it.
        platforms = os.environ.get("JAX_PLATFORMS", "")
        if platforms and "cpu" not in platforms.split(","):
            os.environ["JAX_PLATFORMS"] = f"{platforms},cpu"

    import jax

    backend = jax.default_backend()
    # JAX only warns where it cannot use them, and the results would be a CPU's.
    if backend == "cpu" and (gpus or tpu):
        leased, environment = ("a TPU", "tpu") if tpu else (f"GPUs ({gpus})", "cuda")
        raise UserError(
            f"there are {leased} for this job, but JAX runs on the CPU: install JAX for them "
            f"(make env ENV={environment}), or set JAX_PLATFORMS=cpu to train on the CPU"
        )
    return kind if backend == "cpu" else backend
