# SPDX-License-Identifier: Apache-2.0
"""What `infwidth measure` and `gather` do for a study."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from infwidth.cli.bench import set_up_benches
from infwidth.cli.origin import origin
from infwidth.config.errors import AS_BEFORE, UserError
from infwidth.config.settings import Settings
from infwidth.experiments.registry import module
from infwidth.experiments.study import Job, Part, jobs_of, parts_of
from infwidth.layout import Layout
from infwidth.stored import read_json
from infwidth.training.processes import write_once


def measure(args: argparse.Namespace, settings: Settings | Job, layout: Layout) -> None:
    """Tunes and trains the parts of a job, or of `args.part`."""
    tokens = layout.tokens
    if isinstance(settings, Settings):
        job = _job(args.experiment, args.part, settings)
        if job.parts[0].vocabulary != settings.data.vocabulary:
            tokens = layout.other_tokens
    else:
        job = settings
    first = job.parts[0]
    benches = set_up_benches(args, layout, first.model, first.training, tokens)

    from infwidth.experiments.runs import run_part

    done = []
    for part in job.parts:
        with benches(part.name) as bench:
            done.append(run_part(bench, part, args.experiment))
    write_once(
        args.out or layout.results / args.experiment / "parts" / f"{args.part}.json",
        {"parts": done},
    )


def _job(study: str, name: str, settings: Settings) -> Job:
    jobs = jobs_of(study, settings)
    jobs = {part.name: Job(parts=[part]) for job in jobs.values() for part in job.parts} | jobs
    if name not in jobs:
        raise UserError(f"--part {name}: {study} has no such part; it has {', '.join(jobs)}")
    return jobs[name]


def gather(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    """Writes the tables of a study."""
    from infwidth.data.tokens import TokenDataset
    from infwidth.experiments import runs as made
    from infwidth.experiments.recording import write_measurements
    from infwidth.experiments.run_origins import run_origins
    from infwidth.experiments.run_rows import trained_again
    from infwidth.experiments.study import conditions

    files = args.parts or sorted((layout.results / args.experiment / "parts").glob("*.json"))
    parts = _read(args.experiment, files, parts_of(args.experiment, settings))
    dataset = TokenDataset.open(args.tokens or layout.tokens)
    runs = args.runs or layout.runs
    with trained_again(files):
        tables = made.gather(parts, runs)
        origins = run_origins(runs, tables["runs"]["key"])
    write_measurements(
        args.out or layout.measurements(args.experiment),
        tables,
        settings.model_dump(mode="json")
        | origin(("infwidth.experiments.runs", module(args.experiment, "plan")), computes=False)
        | {
            "runs": origins,
            "corpus": dataset.manifest["corpus"]["statement"]["text"],
            "conditions": {
                each.name: {
                    "label": each.label,
                    "factors": dict(each.factors),
                    "arms": each.arms,
                    "seeds": each.seeds,
                }
                for each in conditions(args.experiment, settings)
            },
            "selection": made.selections(parts),
        },
    )


def _read(study: str, files: Iterable[Path], planned: Sequence[Part]) -> list[dict[str, Any]]:
    """What `measure` wrote of the parts that are planned, in their order."""
    found: dict[tuple[str, str, int], tuple[Path, dict[str, Any]]] = {}
    wanted = {(part.condition, part.variant, part.width): part.name for part in planned}
    for path in files:
        for part in read_json(path, f"infwidth measure {study}", ("parts",))["parts"]:
            place = (part["condition"], part["variant"], part["width"])
            if place in wanted and place in found:
                raise UserError(
                    f"{wanted[place]} is in {found[place][0]} and in {path}: delete one of them, "
                    "or name the files to gather with --parts"
                )
            found[place] = path, part
    for place, name in wanted.items():
        if place not in found:
            command = f"infwidth measure {study} --part {name}"
            raise UserError(f"{name} is missing: run `{command}` first, {AS_BEFORE}")
    return [found[place][1] for place in wanted]
