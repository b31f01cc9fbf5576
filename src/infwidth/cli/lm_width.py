"""`infwidth tune|train|collect|table|figure`: the stages of the paper's experiment."""

import argparse
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from infwidth.catalogue import FIGURES, TABLES
from infwidth.cli.options import settings_options
from infwidth.config.errors import UserError
from infwidth.config.settings import Settings
from infwidth.config.variants import VARIANTS
from infwidth.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infwidth.experiments.lm_width import Bench


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

    for command, names, run in (("table", TABLES, _table), ("figure", FIGURES, _figure)):
        draw = commands.add_parser(command, help=f"write one {command} of the paper")
        settings_options(draw, command)
        draw.add_argument("which", choices=list(names), metavar="NAME", help=", ".join(names))
        draw.add_argument("--measurements", type=Path, help="what `infwidth collect` wrote")
        draw.add_argument("--out", type=Path, help="folder to write to")
        draw.set_defaults(run=run)


def _training_options(parser: argparse.ArgumentParser, command: str) -> None:
    settings_options(parser, command)
    parser.add_argument("--variant", required=True, choices=list(VARIANTS), metavar="NAME")
    parser.add_argument("--tokens", type=Path, help="folder of the tokens")
    parser.add_argument("--runs", type=Path, help="folder of the runs")
    parser.add_argument("--out", type=Path, help="file to write")
    parser.add_argument("--retrain", action="store_true", help="forget cached runs, train anew")


@contextmanager
def _bench(args: argparse.Namespace, settings: Settings, layout: Layout) -> "Iterator[Bench]":
    # JAX reads its environment when it is imported, so the process is set up first.
    from infwidth.training.devices import set_up

    runs = args.runs or layout.runs
    platform = set_up(runs.parent / "compile_cache")

    from infwidth.cli.parent import end_with_workflow
    from infwidth.cli.progress import TrainingProgress
    from infwidth.data.tokens import TokenDataset
    from infwidth.experiments.lm_width import Bench
    from infwidth.training.runs import Runs

    end_with_workflow()
    dataset = TokenDataset.open(args.tokens or layout.tokens)
    with TrainingProgress(args.variant) as progress:
        yield Bench(
            Runs(runs, dataset, args.retrain, progress),
            settings.model,
            settings.training,
            dataset.digest,
            dataset.vocabulary_size,
            platform,
        )


def _tune(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    with _bench(args, settings, layout) as bench:
        from infwidth.atomic import write_json
        from infwidth.experiments import lm_width

        reference, tuning = settings.lm_width.reference_width, settings.lm_width.tuning
        tuned = lm_width.tune(bench, args.variant, reference, tuning)
        write_json(args.out or layout.tuning(args.variant), tuned._asdict())


def _train(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    selection = args.selection or layout.tuning(args.variant)
    if not selection.exists():
        raise UserError(
            f"{selection}: not there; run `infwidth tune --variant {args.variant}` first"
        )
    with _bench(args, settings, layout) as bench:
        from infwidth.atomic import write_json
        from infwidth.experiments.lm_width_plan import report_places

        places = report_places(
            args.variant,
            _widths(args.widths),
            settings.lm_width.seeds,
            json.loads(selection.read_text())["selection"],
            settings.lm_width.sensitivity,
        )
        entries = [bench.run(place)[0] for place in places]
        write_json(args.out or layout.trained(args.variant, args.widths), {"entries": entries})


def _widths(text: str) -> list[int]:
    try:
        return [int(width) for width in text.split("_")]
    except ValueError:
        raise UserError(f"--widths {text}: write widths joined by '_', as in 64_128") from None


def _collect(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    from infwidth.data.tokens import TokenDataset
    from infwidth.experiments.lm_width_measurements import collect

    collect(
        settings,
        TokenDataset.open(args.tokens or layout.tokens),
        args.runs or layout.runs,
        args.tuning or sorted(layout.tuning("any").parent.glob("*.json")),
        args.trained or sorted(layout.trained("any", "").parent.glob("*.json")),
        args.out or layout.measurements,
    )


def _table(args: argparse.Namespace, _: Settings, layout: Layout) -> None:
    from infwidth.analysis.tables.write import write_tables

    write_tables(args.measurements or layout.measurements, args.out or layout.tables, [args.which])


def _figure(args: argparse.Namespace, _: Settings, layout: Layout) -> None:
    from infwidth.plots.draw import draw_and_save

    draw_and_save(args.which, args.measurements or layout.measurements, args.out or layout.figures)
