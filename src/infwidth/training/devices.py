"""Sets a training process up, before JAX is imported: one thread on a CPU, one GPU of several."""

import os
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

from filelock import FileLock, Timeout

_held: list[FileLock] = []


def gpu_count() -> int:
    """The number of NVIDIA GPUs that this process may use."""
    if os.environ.get("JAX_PLATFORMS", "").startswith("cpu"):
        return 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        # As CUDA reads it: what follows the first invalid index does not count.
        indices = [index.strip() for index in visible.split(",")]
        return next((i for i, name in enumerate(indices) if name in ("", "-1")), len(indices))
    if shutil.which("nvidia-smi") is None:
        return 0
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def set_up(compile_cache: Path) -> str:
    """Prepares this process for training; call it before anything imports JAX or NumPy.

    On a CPU the process runs on one thread: models this small use the cores best as processes side
    by side, and their numbers then do not depend on the machine's number of cores. Of several GPUs
    it takes the first one that no other process of this project holds.

    Args:
      compile_cache: folder where compiled programs are kept between processes.

    Returns:
      "cpu", "gpu" or "tpu".
    """
    count = gpu_count()
    if count > 1 and "CUDA_VISIBLE_DEVICES" not in os.environ:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(_claim_gpu(count))
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(compile_cache.absolute()))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    # A full disk costs the cache and no more; the run itself says so where it matters.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation")
    if count == 0:
        one_thread()

    import jax

    return jax.default_backend()


def one_thread() -> None:
    """Holds XLA's CPU backend to one thread, and NumPy's and SciPy's linear algebra."""
    os.environ["NPROC"] = "1"
    os.environ["OMP_NUM_THREADS"] = os.environ["VECLIB_MAXIMUM_THREADS"] = "1"
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()


def _claim_gpu(count: int) -> int:
    for index in range(count):
        lock = FileLock(Path(tempfile.gettempdir()) / f"infwidth-gpu-{index}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        _held.append(lock)
        return index
    return 0
