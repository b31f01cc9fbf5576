# SPDX-License-Identifier: Apache-2.0
"""JAX is held to the letter in every test: no silent change of rank or type."""

import os
import tempfile

import pytest

# XLA's older emitters, a module a program: tests compile in half the time. Read when JAX starts.
QUICK = ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")

os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
os.environ.setdefault("JAX_NUMPY_DTYPE_PROMOTION", "strict")
# Workers run side by side, one thread each.
os.environ.setdefault("NPROC", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *QUICK])


def pytest_configure(config):
    """The first process, which starts the workers, names a folder for all that they compile."""
    if not hasattr(config, "workerinput"):
        folder = tempfile.TemporaryDirectory(prefix="infwidth-compiled-")
        config.add_cleanup(folder.cleanup)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"


@pytest.fixture(autouse=True, scope="session")
def started():
    """JAX has read its flags; the processes that tests start are a user's, without them."""
    import jax

    jax.devices()
    words = [word for word in os.environ.pop("XLA_FLAGS").split() if word not in QUICK]
    if words:
        os.environ["XLA_FLAGS"] = " ".join(words)


@pytest.fixture(autouse=True, scope="module")
def programs():
    """Tests mostly compile: quickly, not to run quickly. No program outlives its module."""
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    # Else a worker grows to gigabytes.
    jax.clear_caches()
