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
    theirs_NxM = np.asarray(case["values"])
    size = np.abs(theirs_NxM).max()
    # Their NTK takes angles from covariances: half of float64's digits at x = ±y, where θ is off by
    # √ε = 1.5e-8 and a few layers add up.
    tolerance = 1e-7 if case["kernel"] == "ntk" else 1e-14
    assert np.max(np.abs(ours_NxM - theirs_NxM)) < tolerance * size


def test_away_from_equal_directions_the_tangent_kernels_agree_to_rounding():
    with jax.enable_x64(True), jax.disable_jit():
        x_NxD, y_MxD = (jnp.asarray(ORACLE[name], jnp.float64) for name in ("x", "y"))
        for case in ORACLE["cases"]:
            if case["kernel"] == "ntk":
                # The first three rows of y have nothing to do with x.
                ours_Nx3 = kernels.ntk_kernel(x_NxD, y_MxD[:3], **case["settings"])
                theirs_Nx3 = np.asarray(case["values"])[:, :3]
                np.testing.assert_allclose(ours_Nx3, theirs_Nx3, rtol=1e-13)


def test_the_values_say_where_they_come_from():
    versions = ORACLE["provenance"]["versions"]
    assert versions["neural-tangents"] == "0.6.5"
    assert versions["jax"] == "0.5.3"
    assert FILE.stat().st_size < 100_000
