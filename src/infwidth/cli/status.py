# SPDX-License-Identifier: Apache-2.0
"""`infwidth status`: every run of the paper's experiment, every condition of a study, how far."""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.table import Table

from infwidth.catalogue import STUDIES
from infwidth.cli.options import settings_options
from infwidth.config.settings import Settings
from infwidth.data.files import MANIFEST
from infwidth.experiments.lm_width.plan import Place, first_places, report_places, widths_of
from infwidth.experiments.study import parts_of
from infwidth.layout import Layout
from infwidth.stored import read_json

if TYPE_CHECKING:
    from infwidth.experiments.lm_width.measure import Bench

_STYLES = {"done": "green", "training": "cyan", "stopped": "yellow", "diverged": "red"}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser("status", help="list every run and how far it is")
    settings_options(parser, "status")
    parser.set_defaults(run=_status)


class _Listed(NamedTuple):
    """A run in the list: its place in the experiment, and its key."""

    role: str
    width: int | None
    learning_rate: float | None
    kappa: float | None
    seed: int
    key: str


def _status(_: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    if not (layout.tokens / MANIFEST).exists():
        console.print("No tokens yet: every run waits for `snakemake --cores all`.")
        return
    bench = _bench(settings, layout)
    table = Table(box=None, header_style="bold")
    for column in ("variant", "H", "role", "η", "κ", "seed", "state", "step", "loss", "tokens/s"):
        numeric = column in ("H", "η", "κ", "step", "loss", "tokens/s")
        table.add_column(column, justify="right" if numeric else "left")
    table.add_column("time left", justify="right")
    counts: Counter[str] = Counter()
    for name in settings.lm_width.variants if "lm_width" in settings.experiments else ():
        for run in _runs(name, bench, settings, layout):
            state = _state(layout.runs / run.key, settings.training.steps)
            counts[state["state"]] += 1
            style = _STYLES.get(state["state"], "")
            rates = ("" if r is None else f"{r:g}" for r in (run.learning_rate, run.kappa))
            table.add_row(
                *(name, str(run.width), run.role, *rates, str(run.seed)),
                f"[{style}]{state['state']}[/]" if style else state["state"],
                *(state[column] for column in ("step", "loss", "speed", "left")),
            )
        if not layout.tuning(name).exists():
            counts["waiting"] += _count_after_tuning(name, settings)
            table.add_row(name, "", "report", "", "", "", "waits for its rate", "", "", "", "")
    if table.rows:
        console.print(table)
        console.print(", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    studies = [study for study in STUDIES if study in settings.experiments]
    if studies:
        console.print(_studies(studies, settings, layout))


def _studies(studies: list[str], settings: Settings, layout: Layout) -> Table:
    """How far each condition of each study is: a run that several ask for counts once, at first."""
    from infwidth.artifact.planning.runs import Planner
    from infwidth.artifact.planning.texts import read_texts

    planner = Planner(settings, layout, read_texts(settings, layout), platform_of_runs())
    table = Table(box=None, header_style="bold")
    for column in ("study", "condition", "done", "of at least", "now"):
        table.add_column(column, justify="right" if column in ("done", "of at least") else "left")
    runs = planner.runs()
    for study in studies:
        for condition in dict.fromkeys(part.condition for part in parts_of(study, settings)):
            some = [
                run
                for run in runs
                if run.experiment == study and run.group.partition("-")[0] == condition
            ]
            found = [
                (run, _state(layout.runs / run.spec.key, run.spec.training.steps))
                for run in some
                if not run.waits
            ]
            done = sum(state["state"] in ("done", "diverged") for _, state in found)
            now = [
                f"{run.group.partition('-')[2]} {state['step']}, {state['left']} left"
                for run, state in found
                if state["state"] == "training"
            ]
            table.add_row(study, condition, f"{done:,}", f"{len(some):,}", "; ".join(now))
    return table


def _bench(settings: Settings, layout: Layout) -> "Bench":
    from infwidth.data.tokens import TokenDataset
    from infwidth.experiments.lm_width.measure import Bench
    from infwidth.training.runs import Runs

    dataset = TokenDataset.open(layout.tokens)
    return Bench(
        Runs(layout.runs, dataset, False, lambda *_: None),
        settings.model,
        settings.training,
        dataset.digest,
        dataset.vocabulary_size,
        platform_of_runs(),
    )


def platform_of_runs() -> str:
    """The platform on which runs would train, as far as it shows without starting it."""
    from infwidth.training.lease import gpu_count, on_tpu_host

    first = os.environ.get("JAX_PLATFORMS", "").split(",")[0]
    if first:
        return "gpu" if first == "cuda" else first
    return "gpu" if gpu_count() else "tpu" if on_tpu_host() else "cpu"


def _runs(name: str, bench: "Bench", settings: Settings, layout: Layout) -> list[_Listed]:
    """The runs of a variant that are known: those of its tuning, then what its choice leads to."""
    study = settings.lm_width
    path = layout.tuning(name)
    if not path.exists():
        places = first_places(name, study.reference_width, study.tuning)
        return [_planned(place, bench) for place in places]
    tuned = read_json(path, f"infwidth tune --variant {name}", ("selection", "entries"))
    places = _places_after_tuning(name, settings, tuned["selection"])
    return [_tried(e) for e in tuned["entries"]] + [_planned(place, bench) for place in places]


def _tried(entry: dict[str, Any]) -> _Listed:
    rate = entry["trunk_learning_rate" if entry["role"] == "trunk" else "learning_rate"]
    place = (entry["role"], entry["width"], rate, entry["kappa"], entry["seed"])
    return _Listed(*place, entry["key"])


def _planned(place: Place, bench: "Bench") -> _Listed:
    spec = bench.spec(place)
    trunk = place.role == "trunk"
    rate = spec.training.trunk_learning_rate if trunk else spec.learning_rate
    return _Listed(place.role, place.width, rate, spec.kappa, place.seed, spec.key)


def _places_after_tuning(name: str, settings: Settings, selection: dict[str, Any]) -> list[Place]:
    study = settings.lm_width
    widths = widths_of(name, study.widths)
    return report_places(name, widths, study.seeds, selection, study.sensitivity)


def _count_after_tuning(name: str, settings: Settings) -> int:
    # Which rate is chosen does not change how many runs follow.
    return len(_places_after_tuning(name, settings, {"learning_rate": 1.0, "kappa": None}))


def _state(folder: Path, steps: int) -> dict[str, str]:
    from infwidth.training.records import read_result, read_rows
    from infwidth.training.runs import in_training

    blank: dict[str, str] = {"state": "waiting", "step": "", "loss": "", "speed": "", "left": ""}
    rows = read_rows(folder)
    if not rows:
        return blank | ({"state": "training"} if in_training(folder) else {})
    last: dict[str, Any] = rows[-1]
    loss = "" if last["loss"] is None else f"{last['loss']:.4f}"
    shown = blank | {"step": f"{last['step']}/{steps}", "loss": loss}
    result = read_result(folder)
    if result is not None:
        return shown | {"state": result["status"]}
    if not in_training(folder):
        return shown | {"state": "stopped"}
    pace = last["seconds"] / (last["step"] - rows[-2]["step"] if len(rows) > 1 else last["step"])
    return shown | {
        "state": "training",
        "speed": f"{last['tokens_per_s']:,.0f}",
        "left": f"{pace * (steps - last['step']):.0f} s",
    }
