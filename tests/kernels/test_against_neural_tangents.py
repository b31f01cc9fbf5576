"""Values of neural-tangents 0.6.5, which are data: tests/oracles says how they were made."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from infwidth import kernels

FILE = Path(__file__).parents[1] / "oracles" / "neural_tangents.json"
ORACLE = json.loads(FILE.read_text(encoding="utf-8"))


def name_of(case):
    settings = (f"{name}={value:g}" for name, value in case["settings"].items())
    return "-".join([case["kernel"], *settings])


@pytest.mark.parametrize("case", ORACLE["cases"], ids=name_of)
def test_equals_neural_tangents(case):
    kernel = getattr(kernels, f"{case['kernel']}_kernel")
    # Not compiled: each case would be compiled for its settings alone, all share single operations.
    with jax.enable_x64(True), jax.disable_jit():
        x_NxD, y_MxD = (jnp.asarray(ORACLE[name], jnp.float64) for name in ("x", "y"))
        ours_NxM = np.asarray(kernel(x_NxD, y_MxD, **case["settings"]))
    error_NxM = np.abs(ours_NxM - np.asarray(case["values"])) / np.max(np.abs(case["values"]))
    # Three columns of y are unrelated to x, the others lie at x = ±y and in other corners. There
    # their NTK, which takes angles from covariances, has half of float64's digits: θ is off by
    # √ε = 1.5e-8, and a few layers add up.
    assert np.max(error_NxM[:, :3]) < 1e-14
    assert np.max(error_NxM[:, 3:]) < (1e-7 if case["kernel"] == "ntk" else 1e-14)


def test_the_values_say_where_they_come_from():
    versions = ORACLE["provenance"]["versions"]
    assert versions["neural-tangents"] == "0.6.5"
    assert versions["jax"] == "0.5.3"
    assert FILE.stat().st_size < 100_000
