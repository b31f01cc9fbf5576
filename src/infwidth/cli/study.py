# SPDX-License-Identifier: Apache-2.0
"""`infwidth measure|gather STUDY`: a study's parts, and its tables."""

import argparse
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from infwidth.catalogue import STUDIES
from infwidth.cli.bench import set_up_benches
from infwidth.cli.options import RETRAIN, settings_options
from infwidth.cli.origin import origin
from infwidth.config.errors import AS_BEFORE, UserError
from infwidth.config.load import restrict
from infwidth.config.settings import Settings
from infwidth.config.slices import SLICES
from infwidth.experiments.registry import module
from infwidth.experiments.study import Job, Part, jobs_of, parts_of
from infwidth.layout import Layout
from infwidth.stored import read_json
from infwidth.training.processes import write_once


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the commands."""
    measure = commands.add_parser("measure", help="tune and train parts of a study")
    measure.add_argument(
        "--part",
        required=True,
        metavar="NAME",
        help="a variant in a condition at a width, as in bytes_500-ntk-256; or a job",
    )
    measure.add_argument("--out", type=Path, help="file to write")
    measure.add_argument(
        "--retrain",
        action="store_true",
        default=os.environ.get(RETRAIN) == "1",
        help="forget cached runs, train anew",
    )
    measure.set_defaults(run=_measure, parse=Job.model_validate_json)

    gather = commands.add_parser("gather", help="gather the losses of a study's runs")
    gather.add_argument("--parts", type=Path, nargs="+", help="what `measure` wrote")
    gather.add_argument("--out", type=Path, help="folder of the measurements")
    gather.set_defaults(run=_gather)

    for name, action in (("measure", measure), ("gather", gather)):
        action.add_argument("study", choices=STUDIES, metavar="STUDY", help=", ".join(STUDIES))
        action.add_argument("--tokens", type=Path, help="folder of the tokens")
        action.add_argument("--runs", type=Path, help="folder of the runs")
        settings_options(action, name)


def _measure(args: argparse.Namespace, settings: Settings | Job, layout: Layout) -> None:
    tokens = layout.tokens
    if isinstance(settings, Settings):
        job = _job(args.study, args.part, settings)
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
            done.append(run_part(bench, part, args.study))
    write_once(
        args.out or layout.results / args.study / "parts" / f"{args.part}.json", {"parts": done}
    )


def _job(study: str, name: str, settings: Settings) -> Job:
    jobs = jobs_of(study, settings)
    jobs = {part.name: Job(parts=[part]) for job in jobs.values() for part in job.parts} | jobs
    if name not in jobs:
        raise UserError(f"--part {name}: {study} has no such part; it has {', '.join(jobs)}")
    return jobs[name]


def _gather(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    from infwidth.data.tokens import TokenDataset
    from infwidth.experiments.recording import write_measurements
    from infwidth.experiments.run_origins import run_origins
    from infwidth.experiments.run_rows import trained_again
    from infwidth.experiments.runs import gather, selections
    from infwidth.experiments.study import conditions

    settings = restrict(settings, SLICES[f"gather {args.study}"])
    files = args.parts or sorted((layout.results / args.study / "parts").glob("*.json"))
    parts = _read(args.study, files, parts_of(args.study, settings))
    dataset = TokenDataset.open(args.tokens or layout.tokens)
    runs = args.runs or layout.runs
    with trained_again(files):
        tables = gather(parts, runs)
        origins = run_origins(runs, tables["runs"]["key"])
    write_measurements(
        args.out or layout.measurements(args.study),
        tables,
        settings.model_dump(mode="json")
        | origin(("infwidth.experiments.runs", module(args.study, "plan")), computes=False)
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
                for each in conditions(args.study, settings)
            },
            "selection": selections(parts),
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
