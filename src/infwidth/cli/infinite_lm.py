# SPDX-License-Identifier: Apache-2.0
"""`infwidth infinite_lm train|collect`: the transformer of infinite width against finite ones."""

import argparse
import os
from pathlib import Path

from infwidth.cli.bench import set_up_benches
from infwidth.cli.options import RETRAIN, settings_options, variant_option
from infwidth.cli.origin import origin
from infwidth.config.errors import AS_BEFORE, UserError
from infwidth.config.settings import Settings
from infwidth.experiments.infinite_lm.plan import training_of
from infwidth.layout import Layout
from infwidth.stored import read_json, write_json


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the commands."""
    parser = commands.add_parser(
        "infinite_lm", help="train transformers of infinite and of finite width"
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")

    train = actions.add_parser("train", help="tune and train a variant at every width")
    variant_option(train)
    train.add_argument("--out", type=Path, help="file to write")
    train.add_argument(
        "--retrain",
        action="store_true",
        default=os.environ.get(RETRAIN) == "1",
        help="forget cached runs, train anew",
    )
    train.set_defaults(run=_train)

    collect = actions.add_parser("collect", help="gather losses and loss curves")
    collect.add_argument("--parts", type=Path, nargs="+", help="what `infinite_lm train` wrote")
    collect.add_argument("--out", type=Path, help="folder of the measurements")
    collect.set_defaults(run=_collect)

    for name, action in actions.choices.items():
        action.add_argument("--tokens", type=Path, help="folder of the tokens")
        action.add_argument("--runs", type=Path, help="folder of the runs")
        settings_options(action, f"infinite_lm {name}")


def _train(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    own = settings.infinite_lm
    benches = set_up_benches(
        args,
        layout,
        settings.model.with_plain_numerics(),
        # Of one device, whatever training.mesh says: a model of infinite width is not split.
        training_of(settings.training, own),
    )

    from infwidth.experiments.infinite_lm.measure import run_variant

    with benches(args.variant) as bench:
        part = run_variant(bench, args.variant, own)
    write_json(args.out or _part(layout, args.variant), part)


def _collect(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    from infwidth.data.tokens import TokenDataset
    from infwidth.experiments.infinite_lm.measure import gather
    from infwidth.experiments.recording import write_measurements
    from infwidth.experiments.run_origins import run_origins
    from infwidth.experiments.run_rows import trained_again

    named = {_part(layout, name): name for name in settings.infinite_lm.variants}
    for path, name in named.items():
        if not args.parts and not path.exists():
            command = f"infwidth infinite_lm train --variant {name}"
            raise UserError(f"{path} is missing: run `{command}` first, {AS_BEFORE}")
    files = args.parts or list(named)
    parts = {
        path.stem: read_json(path, "infwidth infinite_lm train", ("selection", "entries"))
        for path in files
    }
    dataset = TokenDataset.open(args.tokens or layout.tokens)
    runs = args.runs or layout.runs
    with trained_again(files):
        tables = gather(list(parts.values()), runs)
        origins = run_origins(runs, tables["runs"]["key"])
    write_measurements(
        args.out or layout.measurements("infinite_lm"),
        tables,
        settings.model_dump(mode="json")
        | origin(("infwidth.experiments.infinite_lm.measure",), computes=False)
        | {
            "runs": origins,
            "corpus": dataset.manifest["corpus"]["statement"]["text"],
            "selection": {name: part["selection"] for name, part in parts.items()},
        },
    )


def _part(layout: Layout, variant: str) -> Path:
    return layout.results / "infinite_lm" / "parts" / f"{variant}.json"
