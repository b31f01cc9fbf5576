# SPDX-License-Identifier: Apache-2.0
"""The profiles of clusters keep what the default one says, and give a run the devices it takes."""

import re
import textwrap
from pathlib import Path

import pytest
import yaml

from tests.data.c4 import c4_texts, write_json_shards

ROOT = Path(__file__).parents[2]
REMOTE = ("slurm", "kubernetes", "googlebatch")
C4 = "data={c4: {train_shards: 2}}"
# As much of an executor as a dry run needs; those of clusters are not in this environment.
EXECUTOR = """
from dataclasses import field, make_dataclass

from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_default_storage_provider_args=True,
    pass_default_resources_args=True,
    auto_deploy_default_storage_provider=False,
)
fields = [
    (name, type(value), field(default=None, metadata={{"help": name}}))
    for name, value in {settings!r}.items()
]
ExecutorSettings = make_dataclass("ExecutorSettings", fields, bases=(ExecutorSettingsBase,))


class Executor(RemoteExecutor):
    def run_job(self, job):
        raise NotImplementedError

    def check_active_jobs(self, active_jobs):
        raise NotImplementedError

    def cancel_jobs(self, active_jobs):
        raise NotImplementedError
"""


def profile(name):
    return yaml.safe_load((ROOT / f"profiles/{name}/config.yaml").read_text())


def rules():
    """The text of every rule, by name."""
    text = "\n".join(file.read_text() for file in (ROOT / "workflow/rules").glob("*.smk"))
    named = r"^(?:use rule \w+ as|rule) (\w+)(?: with)?:\n((?:[ ].*)?\n)*"
    return {rule[1]: rule[0] for rule in re.finditer(named, text, re.MULTILINE)}


@pytest.mark.parametrize("name", REMOTE)
def test_a_profile_repeats_the_default_one_whose_place_it_takes(name):
    assert profile("default").items() <= profile(name).items()


@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_a_job_has_a_cpu_for_each_device_of_its_run(name):
    shared = {rule for rule, body in rules().items() if "gpu=GPUS_A_RUN" in body}
    assert shared == {"tune", "train_widths", "measure"}
    assert profile(name)["set-threads"] == dict.fromkeys(shared, "$INFWIDTH_DEVICES")


@pytest.fixture
def paper(fresh):
    """Plans the paper's configuration with a cluster's profile, and returns what that prints."""
    write_json_shards(fresh.folder / "c4/en", c4_texts(train=3, validation=2))
    fresh.environment["INFWIDTH_IMAGE"] = "image:1"
    fresh.environment["INFWIDTH_VOLUME"] = f"volume:{fresh.folder}"

    def plan(name, *words, status=0):
        plugin = fresh.folder / f"src/snakemake_executor_plugin_{name}"
        plugin.mkdir()
        own = {
            key.removeprefix(f"{name}-").replace("-", "_"): value
            for key, value in profile(name).items()
            if key.startswith(f"{name}-")
        }
        code = textwrap.dedent(EXECUTOR).format(settings=own)
        (plugin / "__init__.py").write_text(code)
        arguments = ("-n", "--workflow-profile", f"profiles/{name}", "--cores", "64")
        configuration = ("--configfile", "config/paper.yaml")
        return fresh.run("snakemake", *arguments, *words, *configuration, status=status)

    return plan


def asked(output):
    """What the jobs of each rule ask for, by resource; `threads` among them."""
    found = {}
    for rule, body in re.findall(
        r"^rule (\w+):\n(.*?)(?=^\[|\Z)", output, re.MULTILINE | re.DOTALL
    ):
        threads = re.search(r"^ *threads: (\d+)", body, re.MULTILINE)
        resources = re.search(r"^ *resources: (.*)", body, re.MULTILINE)[1].split(", ")
        found[rule] = {
            "threads": threads[1] if threads else "1",
            **dict(resource.split("=", 1) for resource in resources),
        }
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_the_papers_runs_get_the_devices_that_its_mesh_takes(paper, name):
    jobs = asked(paper(name, "--config", C4))
    several = {"gpu": "8", "threads": "8", "mem_mb": "64000"}
    one = {"gpu": "1", "threads": "1", "mem_mb": "8000"}
    for rule, body in rules().items():
        if rule in jobs and "gpu=" in body:
            expected = several if "gpu=GPUS_A_RUN" in body else one
            assert {key: jobs[rule][key] for key in expected} == expected, rule
    assert {"tune", "train_widths", "infinite_lm_train"} <= jobs.keys()
    assert "gpu" not in jobs["collect"]


@pytest.mark.slow
def test_a_cluster_without_gpus_is_asked_for_none(paper):
    jobs = asked(paper("slurm", "--config", C4, "--resources", "gpu=0"))
    assert {jobs[rule]["gpu"] for rule in ("tune", "memory")} == {"0"}


@pytest.mark.slow
def test_fewer_gpus_than_a_run_takes_are_an_error_before_anything_is_submitted(paper):
    output = paper("slurm", "--config", C4, "--resources", "gpu=1", status=1)
    assert "a job would get gpu=1, but training.mesh takes 8 devices" in output


@pytest.mark.slow
def test_on_google_batch_a_run_takes_one_gpu(paper):
    words = ("--config", C4, "training={mesh: {data: 1}}")
    jobs = asked(paper("googlebatch", *words))
    assert jobs["tune"]["gpu"] == "1"
    # What its executor reads, in place of gpu and mem_mb.
    assert jobs["tune"]["nvidia_gpu"] == "nvidia-l4"
    assert int(jobs["tune"]["googlebatch_memory"]) > 8000


@pytest.mark.slow
def test_on_google_batch_a_run_of_several_gpus_is_refused(paper):
    output = paper("googlebatch", "--config", C4, status=1)
    assert "a job would get gpu=1, but training.mesh takes 8 devices" in output
