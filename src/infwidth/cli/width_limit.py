# SPDX-License-Identifier: Apache-2.0
"""`infwidth width_limit tune|train|collect`: losses over width, and the arm in the NTK units."""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from infwidth.cli.bench import set_up_benches
from infwidth.cli.lm_width import parse_widths
from infwidth.cli.options import RETRAIN, settings_options
from infwidth.cli.origin import origin
from infwidth.config.settings import Settings
from infwidth.experiments.width_limit.plan import (
    mean_field_jobs,
    ntk_jobs,
    ntk_model,
    ntk_places,
)
from infwidth.experiments.width_limit.settings import REFERENCE
from infwidth.layout import Layout
from infwidth.stats.selection import Cell
from infwidth.stored import read_json
from infwidth.training.processes import write_once

_TUNE = "infwidth width_limit tune"
_ARM = f"{REFERENCE}, ntk"


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the commands."""
    parser = commands.add_parser("width_limit", help="extrapolate losses to infinite width")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")

    tune = actions.add_parser("tune", help="choose the rates of the NTK parametrization")
    tune.set_defaults(run=_tune)

    train = actions.add_parser("train", help="train in the NTK parametrization at some widths")
    train.add_argument(
        "--widths", required=True, metavar="H_H_...", help="MLP widths joined by '_', as in 64_128"
    )
    train.add_argument("--selection", type=Path, help=f"what `{_TUNE}` wrote")
    train.set_defaults(run=_train)

    collect = actions.add_parser("collect", help="gather the losses that are extrapolated")
    collect.add_argument("--tuning", type=Path, nargs="+", help="what `infwidth tune` wrote")
    collect.add_argument("--trained", type=Path, nargs="+", help="what `infwidth train` wrote")
    collect.add_argument("--selection", type=Path, help=f"what `{_TUNE}` wrote")
    collect.add_argument("--ntk", type=Path, nargs="+", help="what `width_limit train` wrote")
    collect.add_argument("--known", type=Path, nargs="*", help="what `infinite_lm train` wrote")
    collect.add_argument("--out", type=Path, help="folder of the measurements")
    collect.set_defaults(run=_collect)

    for name, action in actions.choices.items():
        action.add_argument("--tokens", type=Path, help="folder of the tokens")
        action.add_argument("--runs", type=Path, help="folder of the runs")
        settings_options(action, f"width_limit {name}")
    for action in (tune, train):
        action.add_argument("--out", type=Path, help="file to write")
        action.add_argument(
            "--retrain",
            action="store_true",
            default=os.environ.get(RETRAIN) == "1",
            help="forget cached runs, train anew",
        )


def _tune(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    benches = set_up_benches(args, layout, ntk_model(settings.model), settings.training)

    from infwidth.experiments.lm_width.measure import Named, tune

    study = settings.lm_width
    with benches(_ARM) as bench:
        tuned = tune(bench, REFERENCE, study.reference_width, study.tuning, Named(_ARM))
        write_once(args.out or _tuning(layout), tuned._asdict())


def _train(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    widths = parse_widths(args.widths, REFERENCE)
    study = settings.lm_width
    chosen = read_json(args.selection or _tuning(layout), _TUNE, ("selection",))["selection"]
    places = ntk_places(
        widths,
        study.reference_width,
        Cell(chosen["learning_rate"], chosen["kappa"]),
        study.seeds[: settings.width_limit.ntk_seeds],
    )
    benches = set_up_benches(args, layout, ntk_model(settings.model), settings.training)
    with benches(_ARM) as bench:
        entries = [bench.run(place)[0] for place in places]
        write_once(args.out or _trained(layout, args.widths), {"entries": entries})


def _collect(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    from infwidth.data.tokens import TokenDataset
    from infwidth.experiments.recording import write_measurements
    from infwidth.experiments.run_origins import run_origins
    from infwidth.experiments.run_rows import trained_again
    from infwidth.experiments.width_limit.measure import gather

    study, own = settings.lm_width, settings.width_limit
    tuning = args.tuning or [layout.tuning(name) for name in own.variants]
    trained = args.trained or [layout.trained(*job) for job in mean_field_jobs(study, own)]
    ntk = args.ntk or [_trained(layout, widths) for widths in ntk_jobs(study, own)]
    known = args.known
    if known is None:
        names = settings.infinite_lm.infinite_variants
        known = [layout.results / "infinite_lm" / "parts" / f"{name}.json" for name in names]
    selection = {
        path.stem: _read(path, "selection", f"infwidth tune --variant {path.stem}")
        for path in tuning
    }
    dataset = TokenDataset.open(args.tokens or layout.tokens)
    runs = args.runs or layout.runs
    with trained_again([*trained, *ntk, *known]):
        tables = gather(
            _entries(trained, "infwidth train"),
            _entries(ntk, "infwidth width_limit train"),
            _entries(known, "infwidth infinite_lm train"),
            runs,
        )
        keys = [key for table in tables.values() for key in table["key"]]
        origins = run_origins(runs, keys)
    write_measurements(
        args.out or layout.measurements("width_limit"),
        tables,
        settings.model_dump(mode="json")
        | origin(("infwidth.experiments.width_limit.measure",), computes=False)
        | {
            "runs": origins,
            "corpus": dataset.manifest["corpus"]["statement"]["text"],
            "selection": selection,
            "selection_ntk": _read(args.selection or _tuning(layout), "selection", _TUNE),
        },
    )


def _entries(paths: Iterable[Path], made_by: str) -> list[dict[str, Any]]:
    return [entry for path in paths for entry in _read(path, "entries", made_by)]


def _read(path: Path, key: str, made_by: str) -> Any:
    return read_json(path, made_by, (key,))[key]


def _tuning(layout: Layout) -> Path:
    return layout.results / "width_limit" / "ntk" / "tuning.json"


def _trained(layout: Layout, widths: str) -> Path:
    return layout.results / "width_limit" / "ntk" / f"{widths}.json"
