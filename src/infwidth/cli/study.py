# SPDX-License-Identifier: Apache-2.0
"""What `infwidth measure`, `tune`, `train` and `gather` do for language models, part by part."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infwidth.catalogue import schemas
from infwidth.cli.bench import set_up_benches
from infwidth.cli.origin import origin
from infwidth.config.errors import AS_BEFORE, UserError
from infwidth.config.settings import Settings
from infwidth.experiments.lm_width.plan import part_name
from infwidth.experiments.registry import module
from infwidth.experiments.study import Job, Part, conditions, jobs_of, parts_of
from infwidth.layout import Layout
from infwidth.stored import read_json
from infwidth.training.processes import write_once

if TYPE_CHECKING:
    from infwidth.experiments.tuning import Bench


def measure(args: argparse.Namespace, settings: Settings | Job, layout: Layout) -> None:
    """Tunes and trains the parts of a job, or of `args.part`."""
    job, benches = _job(args, settings, layout)

    from infwidth.experiments.runs import run_part

    done = []
    for part in job.parts:
        with benches(part.name) as bench:
            done.append(run_part(bench, part))
    write_once(args.out or layout.part(args.experiment, args.part), {"parts": done})


def tune(args: argparse.Namespace, settings: Settings | Job, layout: Layout) -> None:
    """Chooses the learning rates of the parts of a job of the paper's experiment."""
    job, benches = _job(args, settings, layout)

    from infwidth.experiments.runs import tune_part

    done = []
    for part in job.parts:
        with benches(part.name) as bench:
            done.append(tune_part(bench, part))
    write_once(args.out or layout.tuning(args.part), {"parts": done})


def train(args: argparse.Namespace, settings: Settings | Job, layout: Layout) -> None:
    """Trains the parts of a job of the paper's experiment at the rates that are chosen."""
    tuned = _tuned(args.tuned or sorted(layout.tuning("*").parent.glob("*.json")))
    job, benches = _job(args, settings, layout)
    for name in (name for part in job.parts for name in (part.name, part.reference)):
        if name and name not in tuned:
            raise UserError(f"{name} is not tuned: run `infwidth tune --part {name}` first")

    from infwidth.experiments.runs import report_part

    done = []
    for part in job.parts:
        reference = tuned[part.reference] if part.reference else None
        with benches(part.name) as bench:
            done.append(report_part(bench, part, tuned[part.name], reference))
    write_once(args.out or layout.part(args.experiment, args.part), {"parts": done})


def _job(
    args: argparse.Namespace, settings: Settings | Job, layout: Layout
) -> "tuple[Job, Callable[[str], AbstractContextManager[Bench]]]":
    """The job that is asked for, and what opens the benches of its parts."""
    tokens = layout.tokens
    if isinstance(settings, Settings):
        job = _named_job(args.experiment, args.part, settings)
        if job.parts[0].vocabulary != settings.data.vocabulary:
            tokens = layout.other_tokens
    else:
        job = settings
    first = job.parts[0]
    return job, set_up_benches(args, layout, first.model, first.training, tokens)


def _named_job(study: str, name: str, settings: Settings) -> Job:
    jobs = jobs_of(study, settings)
    jobs = {part.name: Job(parts=[part]) for job in jobs.values() for part in job.parts} | jobs
    if name not in jobs:
        raise UserError(f"--part {name}: {study} has no such part; it has {', '.join(jobs)}")
    return jobs[name]


def _tuned(files: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """What `infwidth tune` wrote, by part."""
    return {
        part_name(part["variant"], part["width"]): part
        for path in files
        for part in read_json(path, "infwidth tune", ("parts",))["parts"]
    }


def gather(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    """Writes the tables of an experiment that is measured in parts, and where its runs are from."""
    from infwidth.data.tokens import TokenDataset
    from infwidth.experiments import runs as made
    from infwidth.experiments.recording import write_measurements
    from infwidth.experiments.run_origins import run_origins
    from infwidth.experiments.run_rows import trained_again

    name = args.experiment
    files = args.parts or sorted(layout.part(name, "*").parent.glob("*.json"))
    parts = _read(name, files, parts_of(name, settings))
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
        | origin((made.__name__, module(name, "plan")), computes=False)
        | more,
    )


def _read(
    experiment: str, files: Iterable[Path], planned: Sequence[Part]
) -> dict[str, dict[str, Any]]:
    """What `measure` wrote of the parts that are planned, by name, in their order."""
    found: dict[tuple[str, str, int], tuple[Path, dict[str, Any]]] = {}
    wanted = {part.place: part.name for part in planned}
    for path in files:
        for part in read_json(path, f"infwidth measure {experiment}", ("parts",))["parts"]:
            place = (part["condition"], part["variant"], part["width"])
            if place in wanted and place in found:
                raise UserError(
                    f"{wanted[place]} is in {found[place][0]} and in {path}: delete one of them, "
                    "or name the files to gather with --parts"
                )
            found[place] = path, part
    for place, name in wanted.items():
        if place not in found:
            command = f"infwidth measure {experiment} --part {name}"
            raise UserError(f"{name} is missing: run `{command}` first, {AS_BEFORE}")
    return {name: found[place][1] for place, name in wanted.items()}
