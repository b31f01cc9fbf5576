# SPDX-License-Identifier: Apache-2.0
"""One run on several devices: the numbers of one device, to a tolerance, along every axis."""

import json
import subprocess
import sys

import numpy as np
import pytest

from infwidth.config.errors import UserError
from infwidth.config.settings import TrainingSettings
from infwidth.config.variants import VARIANTS
from infwidth.training.step import compile_program
from tests.conftest import QUICK
from tests.once import once
from tests.training.conftest import MODEL, TRAINING, on_cpus
from tests.training.on_eight_devices import MESHES, VARIANTS_TRIED


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = once(tmp_path_factory, "eight-devices", _train)
    return json.loads((folder / "report.json").read_text())


def _train(folder):
    folder.mkdir()
    command = [sys.executable, "-m", "tests.training.on_eight_devices", str(folder)]
    environment = on_cpus(8)
    # Code that is quickly compiled, not quickly run.
    environment["XLA_FLAGS"] += " --xla_backend_optimization_level=0"
    environment["XLA_FLAGS"] += " --xla_llvm_disable_expensive_passes=true"
    environment["XLA_FLAGS"] = " ".join([environment["XLA_FLAGS"], *QUICK])
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder / "report.json").write_text(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS_TRIED)
def test_losses_are_those_of_one_device(report, variant):
    one, *others = report["losses"][variant]
    assert len(others) == (len(MESHES) - 1 if variant == "adam_star" else 2)
    assert one[-1] < one[0]
    for losses in others:
        np.testing.assert_allclose(losses, one, rtol=1e-6)
    one, *others = report["parameters"][variant]
    for end in others:
        np.testing.assert_allclose(end, one, atol=1e-5)


@pytest.mark.slow
def test_so_they_are_in_the_settings_of_large_runs(report):
    """bfloat16, microbatches, blocks of the loss, the readout to the logits, Muon."""
    one, eight = report["at_scale"]
    assert one[-1] < one[0]
    np.testing.assert_allclose(eight, one, rtol=1e-4)


@pytest.mark.slow
def test_evaluation_probes_and_functional_gradients_are_those_of_one_device(report):
    one, eight = report["else"]
    np.testing.assert_allclose(eight["sums"], one["sums"], rtol=1e-6)
    np.testing.assert_allclose(eight["gradients"], one["gradients"], rtol=1e-4, atol=1e-6)
    assert eight["sizes"].keys() == one["sizes"].keys()
    for name, size in one["sizes"].items():
        assert eight["sizes"][name] == pytest.approx(size, rel=1e-5), name


@pytest.mark.slow
def test_squared_errors_and_measured_scales_are_those_of_one_device(report):
    """Two and four parts of a batch, each in microbatches."""
    for one, *others in report["errors_and_scales"].values():
        assert len(others) == 2
        for found in others:
            np.testing.assert_allclose(found, one, rtol=1e-5)


@pytest.mark.slow
def test_each_device_holds_its_part_of_the_state(report):
    where = report["where"]
    # Four devices, width 2 × fsdp 2: a quarter of M; of ADAM*'s state m so, count and v whole.
    assert all(4 * part == all_ for part, all_ in where["M"])
    parts = {part / all_ for part, all_ in where["m"] if all_ == where["M"][0][1]}
    assert parts == {0.25}
    assert all(2 * part == all_ for part, all_ in where["trunk"])


@pytest.mark.slow
def test_a_checkpoint_is_exact_on_as_many_devices_and_close_on_fewer(report):
    resumed = report["resumed"]
    assert resumed["4"]["losses"] == resumed["straight"]
    assert resumed["4"]["end"] == resumed["end"]
    for devices in ("2", "1"):
        assert resumed[devices]["step"] == 3
        np.testing.assert_allclose(resumed[devices]["losses"], resumed["straight"], rtol=1e-6)
        np.testing.assert_allclose(resumed[devices]["end"], resumed["end"], atol=1e-5)


@pytest.mark.parametrize(
    ("mesh", "width", "mistake"),
    [
        ({"data": 3}, 4, r"a batch of 4 sequences cannot be split into 3 equal parts"),
        ({"width": 3}, 4, r"an MLP of width 4 cannot be split into 3 equal parts"),
        ({"data": 2, "width": 2}, 4, r"asks for 4 devices, but 1 are seen"),
    ],
)
def test_what_does_not_divide_is_refused_before_the_first_step(mesh, width, mistake):
    training = TRAINING.model_copy(update={"mesh": TRAINING.mesh.model_copy(update=mesh)})
    with pytest.raises(UserError, match=mistake):
        compile_program(MODEL, training, VARIANTS["frozen"], width, 16)


def test_a_batch_that_does_not_divide_is_refused_when_settings_are_read():
    with pytest.raises(ValueError, match=r"must be a multiple of mesh.data × mesh.fsdp \(6\)"):
        TrainingSettings.model_validate({"batch_size": 16, "mesh": {"data": 3, "fsdp": 2}})
