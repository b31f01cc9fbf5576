# SPDX-License-Identifier: Apache-2.0
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


CASES = ORACLE["cases"]


def name_of(case):
    settings = (f"{name}={value:g}" for name, value in case["settings"].items())
    return "-".join([case["kernel"], *settings])


@pytest.fixture(scope="module")
def ours():
    """All cases, compiled as one program: that takes half the time of one for each."""

    @jax.jit
    def compute(x_NxD, y_MxD):
        return [
            getattr(kernels, f"{case['kernel']}_kernel")(x_NxD, y_MxD, **case["settings"])
            for case in CASES
        ]

    with jax.enable_x64(True):
        return compute(*(jnp.asarray(ORACLE[name], jnp.float64) for name in ("x", "y")))


@pytest.mark.parametrize("index", range(len(CASES)), ids=[name_of(case) for case in CASES])
def test_equals_neural_tangents(index, ours):
    case = CASES[index]
    expected_NxM = np.asarray(case["values"])
    error_NxM = np.abs(np.asarray(ours[index]) - expected_NxM) / np.max(np.abs(expected_NxM))
    # Three columns of y are unrelated to x, the others lie at x = ±y and in other corners. There
    # their NTK, which takes angles from covariances, has half of float64's digits: θ is off by
    # √ε = 1.5e-8, and a few layers add up.
    assert np.max(error_NxM[:, :3]) < 1e-14
    assert np.max(error_NxM[:, 3:]) < (1e-7 if case["kernel"] == "ntk" else 1e-14)
