# SPDX-License-Identifier: Apache-2.0
"""`infwidth optimizer_ablation train|collect`: which part of the optimizer closes the gap."""

import argparse
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infwidth.cli.bench import set_up_benches
from infwidth.cli.options import RETRAIN, settings_options
from infwidth.cli.origin import origin
from infwidth.config.errors import AS_BEFORE, UserError
from infwidth.config.settings import Settings
from infwidth.experiments.optimizer_ablation.digits_settings import DigitsAblationSettings
from infwidth.experiments.optimizer_ablation.plan import Arm, arms
from infwidth.layout import Layout
from infwidth.stored import read_json, read_table, write_table
from infwidth.training.processes import write_once

if TYPE_CHECKING:
    import pandas as pd


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
    collect.add_argument("--digits", type=Path, nargs="+", help="what `digits` wrote")
    collect.add_argument("--parts", type=Path, nargs="+", help="what `train` wrote")
    collect.set_defaults(run=_collect)

    for action in (train, collect):
        action.add_argument("--tokens", type=Path, help="folder of the tokens")

    digits = actions.add_parser(
        "digits", help="tune and train the rules at exactly infinite width, on digits"
    )
    digits.add_argument("--rules", nargs="+", metavar="NAME", help="these alone; all by default")
    digits.add_argument("--parts", type=Path, help="folder of what is computed already")
    digits.set_defaults(run=_digits)

    for name, action in actions.choices.items():
        action.add_argument("--runs", type=Path, help="folder of the runs")
        action.add_argument("--out", type=Path, help="file to write; of collect the folder")
        settings_options(action, f"optimizer_ablation {name}")
    for action in (train, digits):
        action.add_argument(
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
    own = settings.optimizer_ablation
    digits = _read_digits(args.digits or sorted(home.glob("digits*.parquet")), own.digits)
    files = args.parts or sorted((home / "parts").glob("*.json"))
    parts = _read_parts(files, arms(own))
    dataset = TokenDataset.open(args.tokens or layout.tokens)
    runs = args.runs or layout.runs
    with trained_again(files):
        tables = gather(parts, runs)
        origins = run_origins(runs, tables["runs"]["key"])
    write_measurements(
        args.out or layout.measurements("optimizer_ablation"),
        tables | {"digits": digits},
        settings.model_dump(mode="json")
        | origin(
            (
                "infwidth.experiments.optimizer_ablation.measure",
                "infwidth.experiments.optimizer_ablation.digits",
            ),
            computes=False,
        )
        | {
            "runs": origins,
            "corpus": dataset.manifest["corpus"]["statement"]["text"],
            "selection": selections(parts),
        },
    )


def _digits(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    # JAX reads its environment when it is imported, so the process is set up first.
    from infwidth.training.devices import set_up

    platform = set_up(layout.results / "compile_cache")

    from infwidth.experiments.optimizer_ablation import digits as study
    from infwidth.experiments.parts import Parts

    own = settings.optimizer_ablation.digits
    if args.rules:
        strange = [name for name in args.rules if name not in own.rules]
        if strange:
            raise UserError(f"--rules {strange[0]}: not a rule here; use {', '.join(own.rules)}")
        own = own.model_copy(update={"rules": args.rules})
    home = layout.results / "optimizer_ablation"
    parts = Parts(args.parts or home / "digits", (study.__name__,), platform, args.retrain)
    table = study.measure(own, parts)
    write_table(args.out or home / "digits.parquet", table)


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


def _read_digits(files: Sequence[Path], own: DigitsAblationSettings) -> "pd.DataFrame":
    """What `digits` wrote of the rules and kernels that are planned, in the order of the files."""
    import pandas as pd

    made_by = "infwidth optimizer_ablation digits"
    planned = [f"{rule}-{kernel}" for rule in own.rules for kernel in own.kernels]
    tables, found = [], []
    for path in files:
        table = read_table(path, made_by)
        name = table["rule"] + "-" + table["kernel"]
        tables.append(table[name.isin(planned)])
        found += [(one, path) for one in name.unique() if one in planned]
    _refuse_doubled(found, "--digits")
    for one in planned:
        if one not in dict(found):
            raise UserError(f"{one} on digits is missing: run `{made_by}` first, {AS_BEFORE}")
    return pd.concat(tables, ignore_index=True)


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
