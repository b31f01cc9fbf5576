# SPDX-License-Identifier: Apache-2.0
"""What `infwidth measure` and `gather` do for language models, which are trained in parts."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infwidth.catalogue import schemas
from infwidth.cli.bench import set_up_benches
from infwidth.cli.origin import origin
from infwidth.config.errors import AS_BEFORE, UserError
from infwidth.config.settings import Settings
from infwidth.experiments.registry import module
from infwidth.experiments.study import Job, Part, conditions, jobs_of, parts_of
from infwidth.layout import Layout
from infwidth.stored import read_json
from infwidth.training.processes import write_once

if TYPE_CHECKING:
    import pandas as pd

    from infwidth.data.tokens import TokenDataset


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

    out = args.out or layout.part(args.experiment, args.part)
    done = []
    for part in job.parts:
        selection = None
        if part.tuned_in:
            made_by = f"infwidth measure {args.experiment} --part {part.tuned_in}"
            tuned = read_json(out.with_name(f"{part.tuned_in}.json"), made_by, ("parts",))
            selection = tuned["parts"][0]["selection"]
        with benches(part.name) as bench:
            done.append(run_part(bench, part, selection))
    write_once(out, {"parts": done})


def _job(study: str, name: str, settings: Settings) -> Job:
    jobs = jobs_of(study, settings)
    jobs = {part.name: Job(parts=[part]) for job in jobs.values() for part in job.parts} | jobs
    if name not in jobs:
        raise UserError(f"--part {name}: {study} has no such part; it has {', '.join(jobs)}")
    return jobs[name]


def gather(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    """Writes the tables of an experiment that is measured in parts."""
    from infwidth.experiments import runs as made

    name = args.experiment
    files = args.parts or sorted(layout.part(name, "*").parent.glob("*.json"))
    parts = _read(name, files, parts_of(name, settings))
    named = conditions(name, settings)
    if name == "width_limit":
        from infwidth.experiments.width_limit import measure as extrapolated
        from infwidth.experiments.width_limit.plan import others as sources

        others = {
            kind: {path: read_json(path, command) for path, command in some.items()}
            for kind, some in sources(settings, layout).items()
        }
        files = [*files, *others["trained"], *others["known"]]
        chosen = extrapolated.choices(parts, others)
        measuring = extrapolated.__name__

        def tables(_: "TokenDataset", runs: Path) -> "dict[str, pd.DataFrame]":
            return extrapolated.gather(parts, others, runs)

    else:
        chosen = {"selection": {part: found["selection"] for part, found in parts.items()}}
        measuring = made.__name__
        points = made.POINTS if named else None

        def tables(_: "TokenDataset", runs: Path) -> "dict[str, pd.DataFrame]":
            return made.gather(schemas(name), parts.values(), runs, points)

    if named:
        chosen["conditions"] = {
            each.name: {
                "label": each.label,
                "factors": dict(each.factors),
                "arms": each.arms,
                "seeds": each.seeds,
            }
            for each in named
        }
    code = (measuring, module(name, "plan"))
    write_gathered(args, layout, name, settings, files, tables, code, chosen)


def write_gathered(
    args: argparse.Namespace,
    layout: Layout,
    experiment: str,
    settings: Settings,
    files: Iterable[Path],
    tables: "Callable[[TokenDataset, Path], dict[str, pd.DataFrame]]",
    code: Sequence[str],
    more: dict[str, Any],
) -> None:
    """Writes the tables of runs, where these come from, and the settings.

    Args:
      args: its `tokens`, `runs` and `out`.
      layout: where these lie if `args` does not say it.
      experiment: its name.
      settings: those that it ran with.
      files: what commands that train wrote; those of a run that is lost are set aside.
      tables: makes them from the tokens and the folder of runs.
      code: modules that make them.
      more: to be written beside the settings.
    """
    from infwidth.data.tokens import TokenDataset
    from infwidth.experiments.recording import write_measurements
    from infwidth.experiments.run_origins import run_origins
    from infwidth.experiments.run_rows import trained_again

    dataset = TokenDataset.open(args.tokens or layout.tokens)
    runs = args.runs or layout.runs
    with trained_again(files):
        made = tables(dataset, runs)
        keys = [key for table in made.values() if "role" in table for key in table["key"]]
        origins = run_origins(runs, keys)
    write_measurements(
        args.out or layout.measurements(experiment),
        made,
        settings.model_dump(mode="json", exclude={"retrain"})
        | origin(code, computes=False)
        | {"runs": origins, "corpus": dataset.manifest["corpus"]["statement"]["text"]}
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
