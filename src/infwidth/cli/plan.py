# SPDX-License-Identifier: Apache-2.0
"""`infwidth status|plan`: how far each run is; what a configuration costs before it runs."""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from infwidth.artifact.planning.chips import DEFAULT_UTILISATION
from infwidth.artifact.planning.runs import PlannedRun, Planner, read_texts
from infwidth.atomic import write_atomically
from infwidth.catalogue import STUDIES
from infwidth.cli.parser import settings_options
from infwidth.config.errors import UserError
from infwidth.config.settings import Settings
from infwidth.data.files import MANIFEST
from infwidth.experiments.study import parts_of
from infwidth.layout import Layout
from infwidth.pins import cpu

_NUMBERS = ("step", "loss", "tokens/s", "time left")
_STYLES = {"done": "green", "training": "cyan", "stopped": "yellow", "diverged": "red"}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the commands."""
    parser = commands.add_parser("status", help="list every run and how far it is")
    settings_options(parser, "status", _status)

    parser = commands.add_parser(
        "plan", help="say what runs, FLOPs, memory, disk and device-hours it takes"
    )
    settings_options(parser, "plan", _plan)
    parser.add_argument(
        "--utilisation",
        default=str(DEFAULT_UTILISATION),
        metavar="SHARE",
        help="share of a chip's peak that is reached",
    )
    parser.add_argument(
        "--platform",
        choices=("cpu", "gpu", "tpu"),
        help="what the runs are for (default: what they would run on here)",
    )
    parser.add_argument("--runs", action="store_true", help="list the runs by variant and width")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    parser.add_argument("--page", action="store_true", help="write docs/costs.md anew instead")


def _status(_: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    if not (layout.tokens / MANIFEST).exists():
        console.print("No tokens yet: every run waits for `snakemake --cores all`.")
        return
    planner = Planner(settings, layout, read_texts(settings, layout), platform_of_runs())
    runs = planner.runs()
    if "lm_width" in settings.experiments:
        table, counts = _every_run([r for r in runs if r.experiment == "lm_width"], layout)
        console.print(table)
        console.print(", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    studies = [study for study in STUDIES if study in settings.experiments]
    if studies:
        console.print(_studies(studies, runs, settings, layout))


def _every_run(runs: Sequence[PlannedRun], layout: Layout) -> tuple[Table, Counter[str]]:
    """A row a run; those that wait for a rate are counted, and named once."""
    table = Table(box=None, header_style="bold")
    for column in ("part", "role", "η", "κ", "seed", "state", *_NUMBERS):
        numeric = column in ("η", "κ", *_NUMBERS)
        table.add_column(column, justify="right" if numeric else "left")
    counts: Counter[str] = Counter()
    waiting = set()
    for run in runs:
        if run.waits:
            counts["waiting"] += 1
            if (run.group, run.role) not in waiting:
                waiting.add((run.group, run.role))
                table.add_row(run.group, run.role, "", "", "", "waits for its rate")
            continue
        state, numbers = _state(run, layout)
        counts[state] += 1
        style = _STYLES.get(state, "")
        trunk = run.role == "trunk"
        rate = run.spec.training.trunk_learning_rate if trunk else run.spec.learning_rate
        rates = ("" if r is None else f"{r:g}" for r in (rate, run.spec.kappa))
        table.add_row(
            *(run.group, run.role, *rates, str(run.spec.seed)),
            f"[{style}]{state}[/]" if style else state,
            *(numbers.get(column, "") for column in _NUMBERS),
        )
    return table, counts


def _studies(
    studies: list[str], runs: Sequence[PlannedRun], settings: Settings, layout: Layout
) -> Table:
    """How far each condition of each study is: a run that several ask for counts once, at first."""
    table = Table(box=None, header_style="bold")
    for column in ("study", "condition", "done", "of at least", "now"):
        table.add_column(column, justify="right" if column in ("done", "of at least") else "left")
    for study in studies:
        for condition in dict.fromkeys(part.condition for part in parts_of(study, settings)):
            some = [
                run
                for run in runs
                if run.experiment == study and run.group.partition("-")[0] == condition
            ]
            found = [(run, *_state(run, layout)) for run in some if not run.waits]
            done = sum(state in ("done", "diverged") for _, state, _ in found)
            now = [
                f"{run.group.partition('-')[2]} {numbers.get('step', '')}, "
                f"{numbers.get('time left', '')} left"
                for run, state, numbers in found
                if state == "training"
            ]
            table.add_row(study, condition, f"{done:,}", f"{len(some):,}", "; ".join(now))
    return table


def platform_of_runs() -> str:
    """The platform on which runs would train, as far as it shows without starting it."""
    from infwidth.training.lease import gpu_count, on_tpu_host

    first = os.environ.get("JAX_PLATFORMS", "").split(",")[0]
    if not first:
        first = "gpu" if gpu_count() else "tpu" if on_tpu_host() else "cpu"
    return {"cuda": "gpu", "cpu": cpu()}.get(first, first)


def _state(run: PlannedRun, layout: Layout) -> tuple[str, dict[str, str]]:
    """How far a run is, and what there is to show of it."""
    from infwidth.training.records import read_result, read_rows
    from infwidth.training.runs import in_training

    folder, steps = layout.runs / run.spec.key, run.spec.training.steps
    rows = read_rows(folder)
    if not rows:
        return "training" if in_training(folder) else "waiting", {}
    last = rows[-1]
    loss = "" if last["loss"] is None else f"{last['loss']:.4f}"
    shown = {"step": f"{last['step']}/{steps}", "loss": loss}
    result = read_result(folder)
    if result is not None:
        return result["status"], shown
    if not in_training(folder):
        return "stopped", shown
    pace = last["seconds"] / (last["step"] - rows[-2]["step"] if len(rows) > 1 else last["step"])
    speed = f"{last['tokens_per_s']:,.0f}"
    left = f"{pace * (steps - last['step']):.0f} s"
    return "training", shown | {"tokens/s": speed, "time left": left}


def _plan(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    if args.page:
        from infwidth.artifact.planning.text import PAGE, costs_page

        write_atomically(PAGE, costs_page())
        return
    from infwidth.artifact.planning.plan import make_plan
    from infwidth.artifact.planning.text import render

    platform = cpu() if args.platform == "cpu" else args.platform or platform_of_runs()
    plan = make_plan(settings, layout, platform, _share(args.utilisation))
    print(json.dumps(plan, indent=2) if args.json else render(plan, args.runs), end="")


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UserError(f"--utilisation {text}: write a number above 0 and at most 1, as in 0.4")
    return share
