# SPDX-License-Identifier: Apache-2.0
"""What the Snakefile needs of the project, besides names and paths."""

import argparse
import atexit
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from snakemake.io import contains_wildcard
from snakemake.persistence import file as snakemakes_files
from snakemake.utils import listfiles
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry
from snakemake_interface_executor_plugins.settings import ExecMode, SharedFSUsage

from infwidth.cli.parent import VARIABLE, describe_this_process
from infwidth.cli.parser import RETRAIN
from infwidth.code_digest import PROCESS, code_digest, remember_source
from infwidth.config.errors import UserError
from infwidth.config.load import DEFAULT_CONFIG, parse_yaml, pick, read_yaml
from infwidth.config.settings import Settings
from infwidth.config.slices import SLICES
from infwidth.config.variants import VARIANTS
from infwidth.data.c4 import check_against_catalogue, find_shards, planned_shards, token_budget
from infwidth.data.documents import check_pieces, text_files
from infwidth.data.files import MANIFEST, json_digest
from infwidth.experiments.registry import REGISTRY, module
from infwidth.training.lease import gpu_count, on_tpu_host
from infwidth.training.spec import variants_digest

CHECKOUT = "INFWIDTH_CHECKOUT"
"""Set by the Snakefile: this project's folder, for envs/conda.post-deploy.sh."""

DEVICES = "INFWIDTH_DEVICES"
"""Set by the Snakefile: how many devices a run takes, for expressions in profiles."""

_Result = TypeVar("_Result")
_IMAGE, _VOLUME = "INFWIDTH_IMAGE", "INFWIDTH_VOLUME"
_CLOUDS = ("kubernetes", "googlebatch")
# Several where another workflow uses this one as modules, each with a mesh of its own.
devices_of_runs: set[int] = set()


def or_exit(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Calls a function; a mistake of the user's ends Snakemake with one line and status 2."""
    try:
        return function(*arguments)
    except UserError as error:
        print(f"infwidth: {error}", file=sys.stderr, flush=True)
        # An exception would be wrapped in a trace of the Snakefile.
        os._exit(2)


def check_configuration(workflow: Any) -> None:
    """Looks for what Snakemake would drop: an option's first values, the first of two equal keys.

    To be called before Snakemake reads the configuration file of the Snakefile.

    Raises:
        UserError: a file or an override has a key twice, an option is given twice, or Snakemake
            cannot keep its records in this folder.
    """
    here = Path(".snakemake").absolute()
    if not os.access(here if here.exists() else here.parent, os.W_OK):
        raise UserError(
            f"{here} cannot be written to, where Snakemake keeps its records: mend that, or name "
            "another folder with --directory"
        )
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", "-C", nargs="*", action="append", default=[])
    parser.add_argument("--configfile", "--configfiles", nargs="+", action="append", default=[])
    asked, _ = parser.parse_known_args(sys.argv[1:])
    for option, values in vars(asked).items():
        if len(values) > 1:
            raise UserError(
                f"--{option} is given {len(values)} times, and Snakemake takes the last: give it "
                "once, with all values after it"
            )
    files = [*map(Path, workflow.configfiles), DEFAULT_CONFIG]
    for file in filter(Path.exists, files):
        read_yaml(file)
    for override in chain(*asked.config):
        key, _, value = override.partition("=")
        # Others are another workflow's, which has this one as a module.
        if key in Settings.model_fields:
            parse_yaml(f"--config {key}", value)


def slice_of(settings: Settings, command: str) -> str:
    """The settings that a command reads, as the text of its --settings argument."""
    text = json.dumps(pick(settings, SLICES[command]), sort_keys=True)
    # Snakemake fills in names in braces, which JSON has within strings alone.
    return re.sub(r"\{(?=[\s\w.])", r"\\u007b", text)


def own_file(workflow: Any, name: Path | str) -> str:
    """The path of a file of this project, for a file in workflow/rules/, wherever that runs."""
    return os.path.normpath(workflow.current_basedir.join(f"../../{name}").path)


def known(files: Iterable[Path | str]) -> list[str]:
    """Those of some files that may be inputs of a rule: Snakemake fills in names in braces."""
    return [str(file) for file in files if not contains_wildcard(file)]


def with_unknown(digest: str, files: Iterable[Path | str]) -> str:
    """The digest of a rule's code, and of sizes and times of those files that may not be inputs."""
    unknown = [Path(file) for file in files if contains_wildcard(file)]
    if not unknown:
        return digest
    found = [(str(file), file.stat()) for file in unknown if file.exists()]
    return json_digest([digest, [(name, at.st_size, at.st_mtime_ns) for name, at in found]])


def take_braces_as_they_are() -> None:
    """Lets this folder's path have braces: Snakemake would fill them in as it finds its locks."""
    snakemakes_files.listfiles = lambda pattern: listfiles(os.path.relpath(pattern))


def parts_of_bench(experiment: str, settings: Settings) -> list[str]:
    """The parts that train in jobs of their own, before the tables are made; or none."""
    if not REGISTRY[experiment].split:
        return []
    names: list[str] = import_module(module(experiment, "plan")).parts(settings)
    return names


def code_of_bench(experiment: str, settings: Settings) -> str:
    """A digest of the code that an experiment is measured with."""
    row = REGISTRY[experiment]
    names = row.variants or getattr(getattr(settings, experiment), "variants", ())
    if not names:
        return code_digest((*row.code, *PROCESS))
    return variants_digest(row.code, [VARIANTS[name] for name in names])


def with_other_vocabulary(settings: Settings) -> Settings:
    """The same settings, with bytes for subwords or subwords for bytes."""
    other = {"bytes": "sentencepiece", "sentencepiece": "bytes"}[settings.data.vocabulary]
    data = settings.data.model_copy(update={"vocabulary": other})
    return settings.model_copy(update={"data": data})


def report_label(name: str) -> str:
    """As "fig 01  loss vs width", of "fig1_loss_vs_width": the report sorts its rows as text."""
    numbered = re.fullmatch(r"([a-z]+)(\d+)_(.*)", name)
    if numbered is None:
        return name
    kind, number, words = numbered.groups()
    return f"{kind} {int(number):02}  {words.replace('_', ' ')}"


def own_text_files(settings: Settings) -> list[Path]:
    """The files of a user's own corpus, so that an edit makes the corpus anew; else none."""
    if settings.data.corpus != "text":
        return []
    return or_exit(text_files, Path(settings.data.path or ""))


def enough_text(settings: Settings) -> list[str]:
    """No file; a vocabulary that the text cannot fill ends it here, before any job."""
    or_exit(check_pieces, settings.data)
    return []


def c4_shards(settings: Settings, catalogue: Path) -> dict[str, Path]:
    """By name the files of the shards of C4 that the settings need, those for validation first.

    One that is missing, or has changed since its catalogue was made, ends it here.
    """
    budget = token_budget(settings)
    files = or_exit(find_shards, settings.data, budget)
    if (catalogue / MANIFEST).exists():
        or_exit(check_against_catalogue, files, catalogue)
    planned = or_exit(planned_shards, files, settings.data, budget)
    return {shard.name: shard.path for shard in [*files.validation, *planned]}


def prepare_jobs(settings: Settings) -> None:
    """Lets jobs find this environment's `infwidth` and code, end with the workflow, train anew."""
    remember_source()
    os.environ[CHECKOUT] = str(Path(__file__).parents[2])
    here = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([here, os.environ.get("PATH", os.defpath)])
    # The outermost Snakemake process is the one to watch, so an inherited value stays.
    os.environ.setdefault(VARIABLE, describe_this_process())
    if settings.retrain:
        # In the command or its params it would make every later run, without it, a changed one.
        os.environ[RETRAIN] = "1"
    devices = settings.training.mesh.devices
    os.environ[DEVICES] = str(devices)
    devices_of_runs.add(devices)


def summarize_dry_run(workflow: Any) -> None:
    """Lets a dry run end with its jobs by stage: Snakemake's own lists fill several screens."""
    # Once, where another workflow has this one as several modules.
    atexit.unregister(_print_stages)
    atexit.register(_print_stages, workflow)


def _print_stages(workflow: Any) -> None:
    if not (workflow.dag and workflow.dryrun):
        return
    jobs = workflow.dag.needrun_jobs(exclude_finished=False)
    stages = Counter(Path(job.rule.snakefile).stem for job in jobs if job.output)
    if stages:
        print(f"\n{stages.total()} jobs to run, by file of workflow/rules/:")
    for stage, count in sorted(stages.items()):
        print(f"  {count:5}  {stage}")


def gpus(workflow: Any, settings: Settings) -> int:
    """How many GPUs the jobs may hold at once; 0 where none is to ask for any.

    That is the limit `gpu` of --resources, as the profiles of clusters set it; else, where jobs run
    on this machine, the GPUs that it has. Its TPU counts as the devices of one run.
    """
    limit: int | None = workflow.global_resources.get("gpu").value
    if limit is not None:
        return limit
    inside_a_job = workflow.exec_mode != ExecMode.DEFAULT
    # Only executors of clusters count jobs (and `snakemake -n -j N`): the machine that submits need
    # not be like those that train.
    if workflow.resource_settings.nodes is not None and not inside_a_job:
        return 0
    here = gpu_count() or (settings.training.mesh.devices if on_tpu_host() else 0)
    # A job may have GPUs on other machines, too, which this one does not see.
    if here and not inside_a_job:
        workflow.global_resources["gpu"] = here
    return here


def share_volume(workflow: Any) -> None:
    """On Kubernetes and Google Batch: jobs work in this folder, which a volume holds.

    Their profiles are known by sharing all but software, which is the image's. Their executors take
    it that nothing is shared, and would copy declared files alone: they are told better.

    Raises:
      UserError: the image or the volume is not named, or does not hold this folder.
    """
    shared = workflow.storage_settings.shared_fs_usage
    inside_a_job = workflow.exec_mode != ExecMode.DEFAULT
    if inside_a_job or SharedFSUsage.SOFTWARE_DEPLOYMENT in shared:
        return
    if not os.environ.get(_IMAGE):
        raise UserError(f"{_IMAGE} is not set: name an image built from envs/Containerfile")
    name, _, path = os.environ.get(_VOLUME, "").partition(":")
    if not name or not Path(path).is_absolute():
        raise UserError(
            f"{_VOLUME} is not set to NAME:PATH, the volume (or bucket) that holds this folder and "
            "the absolute path where it is mounted, here as in the jobs"
        )
    if not Path.cwd().is_relative_to(path):
        raise UserError(
            f"{_VOLUME} is mounted at {path}, which does not hold this folder, {Path.cwd()}: jobs "
            "would not find it; put the checkout there"
        )
    registry = ExecutorPluginRegistry()
    for executor in _CLOUDS:
        if registry.is_installed(executor):
            settings = registry.get_plugin(executor).common_settings
            settings.implies_no_shared_fs = False
            settings.job_deploy_sources = False
            settings.auto_deploy_default_storage_provider = False


def launcher(_wildcards: Any, resources: Any) -> str:
    """The beginning of a command, which starts the processes that share a run; or nothing.

    The job's resource `mpi` names a launcher, as in "srun", and comes with `tasks`, `nodes` and
    `gpu` (or `gres`, on each node). Slurm's executor hides the shape of a job from what runs in it,
    so `srun` is told it again.

    Raises:
      UserError: a launcher is named, and no number of processes; or the job's GPUs are not as many
        as a run takes.
    """
    asked = dict(resources.items())
    _check_gpus(asked)
    if "mpi" not in asked:
        return ""
    if not asked.get("tasks"):
        raise UserError(
            "the resource mpi is set, and tasks is not: set tasks, the processes of a run, or "
            "neither"
        )
    words = [asked["mpi"], "-n", asked["tasks"]]
    if asked["mpi"] == "srun":
        words += [f"--nodes={asked.get('nodes', 1)}", f"--cpus-per-task={asked['_cores']}"]
        if str(asked.get("gres", "")).startswith("gpu"):
            words += [f"--gres={asked['gres']}"]
        elif asked.get("gpu"):
            words += [f"--gpus={asked['gpu']}"]
    return " ".join(map(str, words)) + " "


def _check_gpus(asked: Mapping[str, Any]) -> None:
    """Refuses a job that asks for GPUs, but not for as many as a run takes."""
    count = asked.get("gpu") or 0
    words = f"gpu={count}"
    on_each_node = re.fullmatch(r"gpu(?::[A-Za-z][\w.]*)?(?::(\d+))?", str(asked.get("gres", "")))
    if on_each_node:
        nodes = asked.get("nodes", 1)
        count = int(on_each_node[1] or 1) * nodes
        words = f"gres={asked['gres']} on nodes={nodes}"
    if count and devices_of_runs and count not in devices_of_runs:
        devices = " or ".join(map(str, sorted(devices_of_runs)))
        raise UserError(
            f"a job would get {words}, but training.mesh takes {devices} devices: let it take what "
            f"there is (--config 'training={{mesh: {{data: {count}}}}}'), or let the job have as "
            "many (--resources gpu=N is the limit)"
        )
