# SPDX-License-Identifier: Apache-2.0
"""What `infwidth measure`, `tune`, `train` and `gather` do for language models, part by part."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from infwidth.catalogue import schemas
from infwidth.cli.parser import RETRAIN
from infwidth.code_digest import code_digest
from infwidth.config.errors import AS_BEFORE, UserError
from infwidth.config.settings import Settings
from infwidth.experiments.registry import module
from infwidth.experiments.study import Job, Part, conditions, jobs_of
from infwidth.layout import Layout
from infwidth.provenance import MADE_BY, made_by
from infwidth.stored import read_json
from infwidth.training.processes import write_once

if TYPE_CHECKING:
    from infwidth.experiments.runs import Bench
    from infwidth.training.execute import Row
    from infwidth.training.spec import RunSpec

    Benches = Callable[[str], AbstractContextManager[Bench]]

_SECONDS_BETWEEN_LINES = 20.0
_PACKAGES = [
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "pyarrow",
]


def measure(args: argparse.Namespace, settings: Settings | Job, layout: Layout) -> None:
    """Tunes and trains the parts of a job, or of `args.part`."""
    job, tokens = _job(args, settings, layout)
    benches = set_up_benches(args, layout, job, tokens)

    from infwidth.experiments.runs import run_part

    _write(args.out or layout.part(args.experiment, args.part), job, benches, run_part)


def tune(args: argparse.Namespace, settings: Settings | Job, layout: Layout) -> None:
    """Chooses the learning rates of the parts of a job of the paper's experiment."""
    job, tokens = _job(args, settings, layout)
    benches = set_up_benches(args, layout, job, tokens)

    from infwidth.experiments.runs import tune_part

    _write(args.out or layout.tuning(args.part), job, benches, tune_part)


def train(args: argparse.Namespace, settings: Settings | Job, layout: Layout) -> None:
    """Trains the parts of a job of the paper's experiment at the rates that are chosen."""
    job, tokens = _job(args, settings, layout)
    wanted = {part.place: (part.name, layout.tuning(args.part)) for part in job.parts}
    for part in (part for part in job.parts if part.reference):
        width = int(part.reference.rpartition("-")[2])
        place = (part.condition, part.variant, width)
        wanted.setdefault(place, (part.reference, layout.tuning(part.reference)))
    files = args.tuned or sorted(layout.tuning("*").parent.glob("*.json"))
    tuned = _read("infwidth tune", files, wanted, "--tuned")
    benches = set_up_benches(args, layout, job, tokens)

    from infwidth.experiments.runs import report_part

    def report(bench: "Bench", part: Part) -> dict[str, Any]:
        return report_part(bench, part, tuned[part.name], tuned.get(part.reference))

    _write(args.out or layout.part(args.experiment, args.part), job, benches, report)


def _job(
    args: argparse.Namespace, settings: Settings | Job, layout: Layout
) -> tuple[Job, Path | None]:
    """The job that is asked for, and where its tokens lie if that is not the common place."""
    if isinstance(settings, Job):
        return settings, None
    jobs = jobs_of(args.experiment, settings)
    jobs = {part.name: Job(parts=[part]) for job in jobs.values() for part in job.parts} | jobs
    if args.part not in jobs:
        known = f"{args.experiment} has no such part; it has {', '.join(jobs)}"
        raise UserError(f"--part {args.part}: {known}")
    job = jobs[args.part]
    is_other = job.parts[0].vocabulary != settings.data.vocabulary
    return job, layout.other_tokens if is_other else None


def set_up_benches(
    args: argparse.Namespace, layout: Layout, job: Job, tokens: Path | None = None
) -> "Benches":
    """Sets this process up, once and before anything imports JAX, and opens the tokens.

    What is returned opens a bench under a name, with which progress is shown.
    """
    from infwidth.training.devices import set_up

    runs = args.runs or layout.runs
    model, training = job.parts[0].model, job.parts[0].training
    platform = set_up(runs.parent / "compile_cache", training.mesh.devices)

    from infwidth.data.tokens import TokenDataset
    from infwidth.experiments.runs import Bench
    from infwidth.training.runs import Runs

    dataset = TokenDataset.open(args.tokens or tokens or layout.tokens)

    @contextmanager
    def bench(name: str) -> Iterator[Bench]:
        with _Progress(name) as progress:
            yield Bench(
                Runs(runs, dataset, retrains(args), progress),
                model,
                training,
                dataset.digest,
                dataset.vocabulary_size,
                platform,
            )

    return bench


def retrains(args: argparse.Namespace) -> bool:
    """Whether the user or the workflow wants runs trained anew."""
    return args.retrain or os.environ.get(RETRAIN) == "1"


def _write(out: Path, job: Job, benches: "Benches", work: "Callable[[Bench, Part], Any]") -> None:
    """Does the work of each part of a job, and writes what comes of it."""
    done = []
    for part in job.parts:
        with benches(part.name) as bench:
            done.append(work(bench, part))
    write_once(out, {"parts": done})


def gather(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    """Writes the tables of an experiment that is measured in parts, and where its runs are from."""
    from infwidth.data.tokens import TokenDataset
    from infwidth.experiments import runs as made
    from infwidth.experiments.parts import write_measurements
    from infwidth.experiments.run_rows import run_origins, trained_again

    name = args.experiment
    files = args.parts or sorted(layout.part(name, "*").parent.glob("*.json"))
    command = "infwidth train" if name == "lm_width" else f"infwidth measure {name}"
    wanted = {
        part.place: (part.name, layout.part(name, job))
        for job, each in jobs_of(name, settings).items()
        for part in each.parts
    }
    parts = _read(command, files, wanted, "--parts")
    dataset = TokenDataset.open(args.tokens or layout.tokens)
    runs = args.runs or layout.runs
    named = conditions(name, settings)
    with trained_again(files):
        tables = made.gather(
            schemas(name),
            parts.values(),
            runs,
            made.POINTS if named else None,
            dataset.split("test").document_names(),
        )
        origins = run_origins(runs, tables["runs"]["key"])
    more: dict[str, Any] = {
        "runs": origins,
        "corpus": dataset.manifest["corpus"]["statement"]["text"],
        "selection": {part: found["selection"] for part, found in parts.items()},
    }
    if named:
        more["conditions"] = {
            each.name: {
                "label": each.label,
                "factors": dict(each.factors),
                "arms": each.arms,
                "seeds": each.seeds,
            }
            for each in named
        }
    write_measurements(
        args.out or layout.measurements(name),
        tables,
        settings.model_dump(mode="json", exclude={"retrain"})
        | origin((made.__name__, module(name, "plan")))
        | more,
    )


def origin(modules: Iterable[str], device: str | None = None) -> dict[str, Any]:
    """What a command records of itself in `settings.json`: the code that it ran, and on what.

    The modules and all that they import are digested. The device counts where JAX computed.
    """
    return {MADE_BY: made_by(code_digest(modules), _PACKAGES, device)}


def _read(
    command: str,
    files: Iterable[Path],
    wanted: Mapping[tuple[str, str, int], tuple[str, Path]],
    option: str,
) -> dict[str, dict[str, Any]]:
    """What a command wrote of parts, by name; the files hold others, too.

    Wanted are names by place, in their order, with the files that they should be in. The option
    that names files is for the message where a part is in two.
    """
    found: dict[tuple[str, str, int], tuple[Path, dict[str, Any]]] = {}
    for path in files:
        for part in read_json(path, command, ("parts",))["parts"]:
            place = (part["condition"], part["variant"], part["width"])
            if place in wanted and place in found:
                name, first = wanted[place][0], found[place][0]
                raise UserError(
                    f"{name} is in {first} and in {path}: delete one of them, "
                    f"or name the files to read with {option}"
                )
            found[place] = path, part
    for place, (name, path) in wanted.items():
        if place not in found:
            run = f"run `{command} --part {name}` first, {AS_BEFORE}"
            raise UserError(f"{path}: {name} is not there: {run}")
    return {name: found[place][1] for place, (name, _) in wanted.items()}


class _Progress:
    """Progress of training: a live bar on a terminal, a line now and then in a log."""

    def __init__(self, name: str):
        self._name = name
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._last_line = 0.0
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[loss]}"),
                console=Console(stderr=True),
            )

    def __enter__(self) -> "_Progress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, spec: "RunSpec", row: "Row") -> None:
        rate = "" if spec.learning_rate is None else f" η={spec.learning_rate:g}"
        kappa = "" if spec.kappa is None else f" κ={spec.kappa:g}"
        width = "∞" if spec.width is None else spec.width
        label = f"{self._name} H={width}{rate}{kappa} seed {spec.seed}"
        steps = spec.training.steps
        loss = f"loss {row['loss']:.4f}"
        if self._bar is not None:
            task = self._tasks.get(spec.key)
            if task is None:
                task = self._tasks[spec.key] = self._bar.add_task(label, total=steps, loss=loss)
            self._bar.update(task, completed=row["step"], loss=loss)
            return
        now = time.monotonic()
        if row["step"] == steps or now - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = now
            speed = f"{row['tokens_per_s']:,.0f} tokens/s"
            print(f"{label}  step {row['step']}/{steps}  {loss}  {speed}", file=sys.stderr)
