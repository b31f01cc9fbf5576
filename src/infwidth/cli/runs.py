# SPDX-License-Identifier: Apache-2.0
"""`infwidth runs export|import`: finished runs in one file, for another folder to go on from."""

import argparse
from pathlib import Path

from infwidth.cli.parser import settings_options
from infwidth.config.settings import Settings
from infwidth.layout import PUBLISHED, RUNS, Layout

_ABOUT = f"""\
An archive holds what finished runs are and what they measured, and no checkpoints. Where it was
imported, the workflow finds these runs by their keys and trains only what is not among them, such
as one more seed or variant. The published runs are in {PUBLISHED / RUNS}.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the commands."""
    parser = commands.add_parser(
        "runs", help="export finished runs to one file, or import them", description=_ABOUT
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    for name, run, text in (
        ("export", _export, "pack every finished run into an archive, a .tar.xz"),
        ("import", _import, "unpack the runs of an archive that are not here yet"),
    ):
        action = actions.add_parser(name, help=text, description=_ABOUT)
        action.add_argument("archive", type=Path, metavar="FILE", help="the archive")
        action.add_argument("--runs", type=Path, help="folder of the runs")
        settings_options(action, "runs", run)


def _export(args: argparse.Namespace, _: Settings, layout: Layout) -> None:
    from infwidth.experiments.run_rows import trained_again
    from infwidth.training.archive import export_runs

    with trained_again(layout.results.glob("*/*/*.json")):
        count = export_runs(args.runs or layout.runs, args.archive)
    print(f"{args.archive}: {count} runs, {args.archive.stat().st_size / 1e6:.1f} MB")


def _import(args: argparse.Namespace, _: Settings, layout: Layout) -> None:
    from infwidth.training.archive import import_runs

    folder = args.runs or layout.runs
    new, known, busy = import_runs(args.archive, folder)
    training = f", {busy} in training here" if busy else ""
    print(f"{folder}: {new} runs imported, {known} there already{training}")
