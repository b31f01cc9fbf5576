# SPDX-License-Identifier: Apache-2.0
"""What the Snakefile asks of the project: launchers, GPUs, volumes, and what jobs hang on."""

from types import SimpleNamespace

import pytest
from snakemake.resources import Resources
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry
from snakemake_interface_executor_plugins.settings import ExecMode, SharedFSUsage

from infwidth import workflow
from infwidth.config.errors import UserError
from infwidth.config.settings import Settings
from infwidth.experiments.registry import BENCHES, REGISTRY
from infwidth.training.spec import variants_digest
from infwidth.workflow import code_of_bench, gpus, launcher, share_volume

ALL_BUT_SOFTWARE = SharedFSUsage.all() - {SharedFSUsage.SOFTWARE_DEPLOYMENT}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    """As before any Snakefile was read."""
    monkeypatch.setattr(workflow, "devices_of_runs", set())


def test_a_run_of_one_process_is_started_as_it_is():
    assert launcher(None, {"_cores": 1, "tasks": 2, "gpu": 1}) == ""


@pytest.mark.parametrize(
    ("resources", "command"),
    [
        ({"mpi": "srun", "tasks": 2}, "srun -n 2 --nodes=1 --cpus-per-task=1 "),
        (
            {"mpi": "srun", "tasks": 2, "nodes": 2, "gpu": 8},
            "srun -n 2 --nodes=2 --cpus-per-task=1 --gpus=8 ",
        ),
        (
            {"mpi": "srun", "tasks": 2, "nodes": 2, "gpu": 0, "gres": "gpu:4"},
            "srun -n 2 --nodes=2 --cpus-per-task=1 --gres=gpu:4 ",
        ),
        (
            {"mpi": "srun", "tasks": 2, "gpu": 2, "gres": "tmpspace:10G"},
            "srun -n 2 --nodes=1 --cpus-per-task=1 --gpus=2 ",
        ),
        ({"mpi": "mpiexec", "tasks": 4, "nodes": 2, "gpu": 4}, "mpiexec -n 4 "),
    ],
)
def test_a_launcher_is_told_the_shape_of_the_job(resources: dict, command: str):
    assert launcher(None, {"_cores": 1, **resources}) == command


def test_a_launcher_without_a_number_of_processes_is_refused():
    with pytest.raises(UserError, match="mpi is set, and tasks is not"):
        launcher(None, {"_cores": 1, "mpi": "srun"})


@pytest.mark.parametrize(
    "asked",
    [
        *({"gpu": 8}, {"gpu": 0}, {}),
        *({"gres": "gpu:4", "nodes": 2}, {"gres": "gpu:a100:8"}, {"gres": "tmpspace:10G"}),
    ],
)
def test_a_job_that_gets_the_gpus_of_its_run_or_none_is_started(monkeypatch, asked):
    monkeypatch.setattr(workflow, "devices_of_runs", {8})
    assert launcher(None, asked) == ""


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"gpu": 1}, "would get gpu=1, but training.mesh takes 8 devices"),
        ({"gres": "gpu:2", "nodes": 2}, "would get gres=gpu:2 on nodes=2, but"),
        ({"gres": "gpu", "gpu": 8}, "would get gres=gpu on nodes=1, but"),
    ],
)
def test_a_job_that_gets_other_gpus_than_its_run_takes_is_refused(monkeypatch, asked, words):
    monkeypatch.setattr(workflow, "devices_of_runs", {8})
    with pytest.raises(UserError, match=words) as error:
        launcher(None, asked)
    assert "\n" not in str(error.value)


def snakemake(limit=None, jobs=None, mode=ExecMode.DEFAULT, shared=None):
    """As much of Snakemake's workflow as is read."""
    return SimpleNamespace(
        global_resources=Resources.from_mapping({} if limit is None else {"gpu": limit}),
        resource_settings=SimpleNamespace(nodes=jobs),
        storage_settings=SimpleNamespace(shared_fs_usage=shared),
        exec_mode=mode,
    )


SETTINGS = SimpleNamespace(training=SimpleNamespace(mesh=SimpleNamespace(devices=4)))


@pytest.mark.parametrize(
    ("given", "here", "tpu", "count", "limit"),
    [
        ({}, 2, False, 2, 2),
        ({}, 0, False, 0, None),
        # A TPU is one run's, whole.
        ({}, 0, True, 4, 4),
        ({"limit": 0}, 2, False, 0, 0),
        # What the machine has that submits is not what the jobs get.
        ({"jobs": 100}, 1, False, 0, None),
        ({"jobs": 100, "limit": 800}, 1, False, 800, 800),
        # Nor is what one of a job's machines has.
        ({"mode": ExecMode.REMOTE}, 4, False, 4, None),
    ],
)
def test_gpus_are_counted_where_jobs_run(monkeypatch, given, here, tpu, count, limit):
    monkeypatch.setattr(workflow, "gpu_count", lambda: here)
    monkeypatch.setattr(workflow, "on_tpu_host", lambda: tpu)
    asked = snakemake(**given)
    assert gpus(asked, SETTINGS) == count
    assert asked.global_resources.get("gpu").value == limit


@pytest.mark.parametrize(
    ("image", "volume", "words"),
    [
        ("", "claim:{here}", "INFWIDTH_IMAGE is not set"),
        ("image:1", "", "INFWIDTH_VOLUME is not set"),
        ("image:1", "claim", "INFWIDTH_VOLUME is not set"),
        ("image:1", "claim:relative", "INFWIDTH_VOLUME is not set"),
        ("image:1", "claim:{here}/below", "does not hold this folder"),
    ],
)
def test_what_is_missing_of_a_volume_is_one_line(tmp_path, monkeypatch, image, volume, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INFWIDTH_IMAGE", image)
    monkeypatch.setenv("INFWIDTH_VOLUME", volume.format(here=tmp_path))
    with pytest.raises(UserError, match=words) as error:
        share_volume(snakemake(shared=ALL_BUT_SOFTWARE))
    assert "\n" not in str(error.value)


def test_the_executor_is_told_that_the_folder_is_shared(tmp_path, monkeypatch):
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.setenv("INFWIDTH_IMAGE", "image:1")
    monkeypatch.setenv("INFWIDTH_VOLUME", f"claim:{tmp_path}")
    names = ("implies_no_shared_fs", "job_deploy_sources", "auto_deploy_default_storage_provider")
    settings = SimpleNamespace(**dict.fromkeys(names, True))
    plugin = SimpleNamespace(common_settings=settings)
    monkeypatch.setattr(ExecutorPluginRegistry, "is_installed", lambda _, name: True)
    monkeypatch.setattr(ExecutorPluginRegistry, "get_plugin", lambda _, name: plugin)
    share_volume(snakemake(shared=ALL_BUT_SOFTWARE))
    assert vars(settings) == dict.fromkeys(names, False)


@pytest.mark.parametrize(
    ("shared", "mode"),
    [(SharedFSUsage.all(), ExecMode.DEFAULT), (ALL_BUT_SOFTWARE, ExecMode.REMOTE)],
)
def test_elsewhere_and_inside_a_job_nothing_is_asked(monkeypatch, shared, mode):
    monkeypatch.delenv("INFWIDTH_IMAGE", raising=False)
    share_volume(snakemake(mode=mode, shared=shared))


def test_where_no_variants_are_named_every_treatment_of_features_counts():
    # infinite_rules has normalized and measured features of its own.
    digest = code_of_bench("infinite_rules", Settings())
    assert digest != variants_digest(REGISTRY["infinite_rules"].code, [])
    assert len({code_of_bench(name, Settings()) for name in BENCHES}) == len(BENCHES)
