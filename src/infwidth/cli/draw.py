# SPDX-License-Identifier: Apache-2.0
"""`infwidth table|figure`: one table or figure from what its experiment measured."""

import argparse
from pathlib import Path

from infwidth.catalogue import FIGURES, TABLES
from infwidth.cli.parser import one_of, settings_options
from infwidth.config.settings import Settings
from infwidth.layout import Layout


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the commands."""
    for command, names, run in (("table", TABLES, _table), ("figure", FIGURES, _figure)):
        draw = commands.add_parser(command, help=f"write one {command} of this artifact")
        settings_options(draw, command, run)
        kinds = f"{', '.join(names)}; {next(iter(names)).partition('_')[0]} will do, too"
        draw.add_argument("which", type=one_of(names, command), metavar="NAME", help=kinds)
        draw.add_argument("--measurements", type=Path, help="what the experiment measured")
        draw.add_argument("--out", type=Path, help="folder to write to")


def _table(args: argparse.Namespace, _: Settings, layout: Layout) -> None:
    from infwidth.drawing.make import build_and_write

    measurements = args.measurements or layout.measurements(TABLES[args.which])
    build_and_write(args.which, measurements, args.out or layout.tables)


def _figure(args: argparse.Namespace, _: Settings, layout: Layout) -> None:
    from infwidth.drawing.make import draw_and_save

    measurements = args.measurements or layout.measurements(FIGURES[args.which])
    draw_and_save(args.which, measurements, args.out or layout.figures)
