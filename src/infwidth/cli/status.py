"""`infwidth status`: every run of the experiment, and how far it is."""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from infwidth.cli.options import settings_options
from infwidth.config.errors import UserError
from infwidth.config.settings import Settings
from infwidth.layout import Layout

if TYPE_CHECKING:
    from infwidth.experiments.lm_width_plan import Place

_STYLES = {"done": "green", "training": "cyan", "stopped": "yellow", "diverged": "red"}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser("status", help="list every run and how far it is")
    settings_options(parser, "status")
    parser.set_defaults(run=_status)


def _status(_: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    from infwidth.data.tokens import TokenDataset
    from infwidth.experiments.lm_width import Bench
    from infwidth.training.devices import gpu_count
    from infwidth.training.runs import Runs

    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        dataset = TokenDataset.open(layout.tokens)
    except UserError:
        console.print("No tokens yet: every run waits for `snakemake --cores all`.")
        return
    bench = Bench(
        Runs(layout.runs, dataset, False, lambda *_: None),
        settings.model,
        settings.training,
        dataset.digest,
        dataset.vocabulary_size,
        "gpu" if gpu_count() else "cpu",
    )
    table = Table(box=None, header_style="bold")
    for column in ("variant", "H", "role", "η", "κ", "seed", "state", "step", "loss", "tokens/s"):
        numeric = column in ("H", "η", "κ", "step", "loss", "tokens/s")
        table.add_column(column, justify="right" if numeric else "left")
    table.add_column("time left", justify="right")
    counts: Counter[str] = Counter()
    for name in settings.lm_width.variants:
        for place in _places(name, settings, layout):
            spec = bench.spec(place)
            state = _state(layout.runs / spec.key, settings.training.steps)
            counts[state["state"]] += 1
            style = _STYLES.get(state["state"], "")
            kappa = "" if spec.kappa is None else f"{spec.kappa:g}"
            trunk = place.role == "trunk"
            number = spec.training.trunk_learning_rate if trunk else spec.learning_rate
            rate = "" if number is None else f"{number:g}"
            cells = (name, str(place.width), place.role, rate, kappa, str(place.seed))
            table.add_row(
                *cells,
                f"[{style}]{state['state']}[/]" if style else state["state"],
                state["step"],
                state["loss"],
                state["speed"],
                state["left"],
            )
        if not layout.tuning(name).exists():
            counts["waiting"] += _reported_count(name, settings)
            table.add_row(name, "", "report", "", "", "", "waits for its rate", "", "", "", "")
    console.print(table)
    console.print(", ".join(f"{count} {state}" for state, count in sorted(counts.items())))


def _places(name: str, settings: Settings, layout: Layout) -> "list[Place]":
    from infwidth.analysis.selection import Cell
    from infwidth.experiments.lm_width_plan import (
        Place,
        first_places,
        report_places,
        widths_of,
    )

    study = settings.lm_width
    path = layout.tuning(name)
    if not path.exists():
        return first_places(name, study.reference_width, study.tuning)
    tuned = json.loads(path.read_text())
    places = []
    for entry in tuned["entries"]:
        factor = entry["trunk_learning_rate"] / settings.training.trunk_learning_rate
        cell = Cell(entry["learning_rate"] or 0.0, entry["kappa"])
        places.append(
            Place(entry["role"], name, entry["width"], cell, entry["seed"], round(factor, 6))
        )
    return places + report_places(
        name,
        widths_of(name, study.widths),
        study.seeds,
        tuned["selection"],
        study.sensitivity,
    )


def _reported_count(name: str, settings: Settings) -> int:
    from infwidth.experiments.lm_width_plan import widths_of

    return len(widths_of(name, settings.lm_width.widths)) * len(settings.lm_width.seeds)


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
