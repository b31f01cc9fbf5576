# SPDX-License-Identifier: Apache-2.0
"""JAX is held to the letter in every test: no silent change of rank or type."""

import os
import tempfile

import pytest

os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
os.environ.setdefault("JAX_NUMPY_DTYPE_PROMOTION", "strict")
# Workers run side by side, one thread each.
os.environ.setdefault("NPROC", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure(config):
    """The first process, which starts the workers, names a folder for all that they compile."""
    if not hasattr(config, "workerinput"):
        folder = tempfile.TemporaryDirectory(prefix="infwidth-compiled-")
        config.add_cleanup(folder.cleanup)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"


@pytest.fixture(autouse=True, scope="module")
def programs():
    """Tests mostly compile: quickly, not to run quickly. No program outlives its module."""
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    # Else a worker grows to gigabytes.
    jax.clear_caches()
