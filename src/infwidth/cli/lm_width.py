# SPDX-License-Identifier: Apache-2.0
"""`infwidth tune|train|collect`: the stages of the paper's experiment."""

import argparse
import os
import re
from functools import partial
from pathlib import Path

from infwidth.cli.bench import set_up_benches
from infwidth.cli.options import RETRAIN, settings_options, variant_option
from infwidth.cli.study import write_gathered
from infwidth.config.errors import UserError
from infwidth.config.settings import Settings
from infwidth.config.variants import VARIANTS
from infwidth.experiments.lm_width.plan import has_mlps, jobs, report_places
from infwidth.layout import Layout
from infwidth.stored import read_json, write_json
from infwidth.training.processes import write_once


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the commands."""
    tune = commands.add_parser("tune", help="choose a variant's learning rate")
    _training_options(tune, "tune")
    tune.set_defaults(run=_tune)

    train = commands.add_parser("train", help="train a variant at some widths, all seeds")
    _training_options(train, "train")
    train.add_argument(
        "--widths", required=True, metavar="H_H_...", help="MLP widths joined by '_', as in 64_128"
    )
    train.add_argument("--selection", type=Path, help="what `infwidth tune` wrote")
    train.set_defaults(run=_train)

    collect = commands.add_parser("collect", help="gather the losses of all runs")
    settings_options(collect, "collect")
    collect.add_argument("--tokens", type=Path, help="folder of the tokens")
    collect.add_argument("--runs", type=Path, help="folder of the runs")
    collect.add_argument("--tuning", type=Path, nargs="+", help="what `infwidth tune` wrote")
    collect.add_argument("--trained", type=Path, nargs="+", help="what `infwidth train` wrote")
    collect.add_argument("--out", type=Path, help="folder of the measurements")
    collect.set_defaults(run=_collect)


def _training_options(parser: argparse.ArgumentParser, command: str) -> None:
    settings_options(parser, command)
    variant_option(parser)
    parser.add_argument("--tokens", type=Path, help="folder of the tokens")
    parser.add_argument("--runs", type=Path, help="folder of the runs")
    parser.add_argument("--out", type=Path, help="file to write")
    parser.add_argument(
        "--retrain",
        action="store_true",
        default=os.environ.get(RETRAIN) == "1",
        help="forget cached runs, train anew",
    )


def _tune(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    benches = set_up_benches(args, layout, settings.model, settings.training)

    from infwidth.experiments.lm_width.measure import Named, tune

    reference, tuning = settings.lm_width.reference_width, settings.lm_width.tuning
    with benches(args.variant) as bench:
        tuned = tune(bench, args.variant, reference, tuning, Named(args.variant))
        write_once(args.out or layout.tuning(args.variant), tuned._asdict())


def _train(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    widths = parse_widths(args.widths, args.variant)
    made_by = f"infwidth tune --variant {args.variant}"
    path = args.selection or layout.tuning(args.variant)
    selection = read_json(path, made_by, ("selection",))["selection"]
    benches = set_up_benches(args, layout, settings.model, settings.training)
    with benches(args.variant) as bench:
        places = report_places(
            args.variant,
            widths,
            settings.lm_width.seeds,
            selection,
            settings.lm_width.sensitivity,
        )
        entries = [bench.run(place)[0] for place in places]
        write_once(args.out or layout.trained(args.variant, args.widths), {"entries": entries})


def parse_widths(text: str, variant: str) -> list[int]:
    """Reads `--widths`, as in "64_128".

    Raises:
      UserError: not such a list, or no widths that the variant can have.
    """
    if not re.fullmatch("[0-9]{1,9}(_[0-9]{1,9})*", text):
        raise UserError(f"--widths {text}: write whole numbers joined by '_', as in 64_128")
    widths = [int(width) for width in text.split("_")]
    if not has_mlps(VARIANTS[variant]):
        if widths != [0]:
            raise UserError(f"--widths {text}: {variant} has no MLPs; write 0")
    elif min(widths) < 1:
        raise UserError(f"--widths {text}: the widths of {variant} are 1 or more")
    if len(set(widths)) < len(widths):
        raise UserError(f"--widths {text}: a width is given twice; give each once")
    return widths


def _collect(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    from infwidth.experiments.lm_width import collect

    study = settings.lm_width
    tuned = {layout.tuning(name): f"infwidth tune --variant {name}" for name in study.variants}
    trained = {
        layout.trained(name, widths): f"infwidth train --variant {name} --widths {widths}"
        for name, widths in jobs(study)
    }
    made = {
        path: read_json(path, tuned.get(path, "infwidth tune"), ("selection", "entries"))
        for path in args.tuning or tuned
    }
    selection = {path.stem: content["selection"] for path, content in made.items()}
    made |= {
        path: read_json(path, trained.get(path, "infwidth train"), ("entries",))
        for path in args.trained or trained
    }
    entries = [entry for content in made.values() for entry in content["entries"]]
    tables = partial(collect.collect, entries)
    write_gathered(args, layout, "lm_width", settings, made, tables, [collect.__name__], {})
    if "constant" in selection:
        selection["trunk"] = selection.pop("constant")
    out = args.out or layout.measurements("lm_width")
    write_json(out / "selection.json", selection)
