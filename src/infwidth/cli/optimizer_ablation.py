# SPDX-License-Identifier: Apache-2.0
"""`infwidth optimizer_ablation train|collect`: which part of the optimizer closes the gap."""

import argparse
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from infwidth.cli.bench import set_up_benches
from infwidth.cli.options import RETRAIN, settings_options
from infwidth.cli.origin import origin
from infwidth.config.errors import AS_BEFORE, UserError
from infwidth.config.settings import Settings
from infwidth.experiments.optimizer_ablation.plan import Arm, arms
from infwidth.layout import Layout
from infwidth.stored import read_json
from infwidth.training.processes import write_once


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the commands."""
    parser = commands.add_parser(
        "optimizer_ablation", help="try the parts of the optimizer one by one"
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")

    train = actions.add_parser("train", help="tune and train some variants, each in a context")
    train.add_argument(
        "--arms",
        nargs="+",
        required=True,
        metavar="CONTEXT-VARIANT",
        help="as in base-ntk or short-adam_star",
    )
    train.set_defaults(run=_train)

    collect = actions.add_parser("collect", help="gather the losses of all runs")
    collect.add_argument("--parts", type=Path, nargs="+", help="what `train` wrote")
    collect.set_defaults(run=_collect)

    for action in (train, collect):
        action.add_argument("--tokens", type=Path, help="folder of the tokens")

    for name, action in actions.choices.items():
        action.add_argument("--runs", type=Path, help="folder of the runs")
        action.add_argument("--out", type=Path, help="file to write; of collect the folder")
        settings_options(action, f"optimizer_ablation {name}")
    train.add_argument(
        "--retrain",
        action="store_true",
        default=os.environ.get(RETRAIN) == "1",
        help="forget cached runs, train anew",
    )


def _train(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    own = settings.optimizer_ablation
    wanted = _arms(args.arms, arms(own))
    if len({arm.other_vocabulary for arm in wanted}) > 1:
        raise UserError(f"--arms {' '.join(args.arms)}: these read two vocabularies; name one's")
    tokens = layout.other_tokens if wanted[0].other_vocabulary else layout.tokens
    benches = set_up_benches(args, layout, settings.model, settings.training, tokens)

    from infwidth.experiments.optimizer_ablation.measure import run_arm

    parts = []
    for arm in wanted:
        with benches(arm.name) as bench:
            parts.append(run_arm(bench, arm, own))
    out = args.out or layout.results / "optimizer_ablation" / "parts" / f"{wanted[0].name}.json"
    write_once(out, {"arms": parts})


def _arms(names: list[str], known: list[Arm]) -> list[Arm]:
    by_name = {arm.name: arm for arm in known}
    for name in names:
        if name not in by_name:
            raise UserError(f"--arms {name}: no such arm; there are {', '.join(by_name)}")
        if names.count(name) > 1:
            raise UserError(f"--arms {name}: given twice; give each arm once")
    return [by_name[name] for name in names]


def _collect(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    from infwidth.data.tokens import TokenDataset
    from infwidth.experiments.optimizer_ablation.measure import gather, selections
    from infwidth.experiments.recording import write_measurements
    from infwidth.experiments.run_origins import run_origins
    from infwidth.experiments.run_rows import trained_again

    home = layout.results / "optimizer_ablation"
    files = args.parts or sorted((home / "parts").glob("*.json"))
    parts = _read_parts(files, arms(settings.optimizer_ablation))
    dataset = TokenDataset.open(args.tokens or layout.tokens)
    runs = args.runs or layout.runs
    with trained_again(files):
        tables = gather(parts, runs)
        origins = run_origins(runs, tables["runs"]["key"])
    write_measurements(
        args.out or layout.measurements("optimizer_ablation"),
        tables,
        settings.model_dump(mode="json")
        | origin(("infwidth.experiments.optimizer_ablation.measure",), computes=False)
        | {
            "runs": origins,
            "corpus": dataset.manifest["corpus"]["statement"]["text"],
            "selection": selections(parts),
        },
    )


def _read_parts(files: Iterable[Path], planned: Sequence[Arm]) -> list[dict[str, Any]]:
    """What `train` wrote of the arms that are planned, in the order of the files."""
    read = [
        (Arm(part["context"], part["variant"]), path, part)
        for path in files
        for part in read_json(path, "infwidth optimizer_ablation train", ("arms",))["arms"]
    ]
    some = [(arm, path, part) for arm, path, part in read if arm in planned]
    _refuse_doubled([(arm.name, path) for arm, path, _ in some], "--parts")
    found = {arm for arm, *_ in some}
    for arm in planned:
        if arm not in found:
            command = f"infwidth optimizer_ablation train --arms {arm.name}"
            raise UserError(f"{arm.name} is missing: run `{command}` first, {AS_BEFORE}")
    return [part for *_, part in some]


def _refuse_doubled(found: Iterable[tuple[str, Path]], option: str) -> None:
    """Its rows would count twice, such as where files of other `arms_per_job` are left."""
    first: dict[str, Path] = {}
    for name, path in found:
        if name in first:
            raise UserError(
                f"{name} is in {first[name]} and in {path}: delete one of them, or name the files "
                f"to gather with {option}"
            )
        first[name] = path
