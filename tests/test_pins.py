# SPDX-License-Identifier: Apache-2.0
"""What the environment asks for changes neither numbers nor keys; the locked packages are used."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

_COMPUTE = """
import json, sys
from pathlib import Path
from infwidth.training.devices import set_up
set_up(Path(sys.argv[1]))
import jax, jax.numpy as jnp, numpy as np
@jax.jit
def f(key):
    x = jax.random.normal(key, (64, 64))
    return jax.nn.softmax(jnp.exp(x @ x.T / 99) / (1 + x ** 2)), jax.random.permutation(key, 64)
found = [np.asarray(y) for y in f(jax.random.key(3))]
sums = [repr((y.dtype.str, y.tobytes())) for y in found]
states = {name: repr(value) for name, value in jax.config.values.items()}
del states["jax_compilation_cache_dir"]
print(json.dumps([sums, states, len(jax.devices())]))
"""

# States of JAX that say where it computes, what it keeps, says or refuses: no number hangs on them.
_FREE = (
    *("jax_compilation_cache", "jax_persistent_cache", "jax_raise_persistent_cache"),
    *("jax_enable_compilation_cache", "jax_log", "jax_explain", "jax_distributed_debug"),
    *("jax_check_proxy", "jax_cross_host"),
)


def flipped():
    """A variable for every state of JAX that is yes or no, and for others what changes numbers."""
    states = {
        name.upper(): str(int(not value))
        for name, value in jax.config.values.items()
        if isinstance(value, bool) and not name.startswith(_FREE)
    }
    return states | {
        "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
        "JAX_DEFAULT_PRNG_IMPL": "rbg",
        "JAX_RANDOM_SEED_OFFSET": "7",
        "JAX_EXPLICIT_X64_DTYPES": "0",
        # The last changes no number, and is kept.
        "XLA_FLAGS": "--xla_cpu_enable_fast_math=true --xla_backend_optimization_level=0 "
        "--xla_cpu_max_isa=SSE4_2 --xla_force_host_platform_device_count=3",
        "NPROC": "4",
        "OPENBLAS_NUM_THREADS": "4",
        "FLAX_FIX_RNG_SEPARATOR": "0",
        "NPY_DISABLE_CPU_FEATURES": "AVX2",
    }


def compute(tmp_path, environment):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    done = subprocess.run(
        [sys.executable, "-c", _COMPUTE, str(tmp_path)],
        env={**inherited, "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout), done.stderr


def test_whatever_jax_is_told_numbers_and_states_are_the_same(tmp_path):
    (numbers, states, devices), said = compute(tmp_path / "1", {})
    assert said == ""
    (others, other_states, other_devices), said = compute(tmp_path / "2", flipped())
    assert others == numbers
    assert (devices, other_devices) == (1, 3)
    assert {k: v for k, v in other_states.items() if v != states[k]} == {}
    (line,) = said.splitlines()
    assert line.startswith("infwidth: left out, as numbers would change: ")
    assert "JAX_ENABLE_X64" in line
    assert "XLA_FLAGS" in line


@pytest.fixture
def shadow(tmp_path):
    """A folder with another numpy, and the commands that would find it first."""
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy/__init__.py").write_text("raise SystemExit('the wrong numpy')")
    (tmp_path / "pydantic.py").write_text("raise SystemExit('the wrong pydantic')")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), "/nonsense"])}


def test_the_path_of_another_project_shadows_no_package(shadow):
    command = [str(Path(sys.executable).with_name("infwidth")), "config", "check"]
    done = subprocess.run(command, env=shadow, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "wrong" not in done.stdout


def test_files_of_the_folder_that_it_is_called_in_are_no_modules(tmp_path):
    (tmp_path / "pydantic.py").write_text("raise SystemExit('the wrong pydantic')")
    command = [sys.executable, "-m", "infwidth", "config", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


_DRAW = """
import sys
from infwidth.cli.entry import main
sys.argv[1:] = ["config", "--help"]
try:
    main()
except SystemExit:
    import matplotlib.pyplot
"""


def test_a_matplotlib_backend_that_there_is_not_keeps_no_figure_from_being_drawn():
    done = subprocess.run(
        [sys.executable, "-c", _DRAW],
        env={**os.environ, "MPLBACKEND": "nonsense", "PYTHONNOUSERSITE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
