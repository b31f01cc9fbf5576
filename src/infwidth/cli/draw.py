# SPDX-License-Identifier: Apache-2.0
"""`infwidth claims|table|figure`: verdicts, tables and figures from what was measured."""

import argparse
import os
from pathlib import Path

from infwidth.atomic import write_atomically
from infwidth.catalogue import FIGURES, TABLES
from infwidth.claims.schema import read_claims
from infwidth.cli.parser import one_of, settings_options
from infwidth.config.errors import UserError
from infwidth.config.load import CLAIMS
from infwidth.config.settings import Settings
from infwidth.layout import Layout
from infwidth.provenance import SHA256, sha256
from infwidth.stored import write_json


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the commands."""
    parser = commands.add_parser("claims", help=f"judge every claim by its rule in {CLAIMS}")
    settings_options(parser, "claims", _claims)
    parser.add_argument("--rules", type=Path, default=CLAIMS, help="the rules")
    parser.add_argument(
        "--measured",
        action="append",
        metavar="EXPERIMENT=FOLDER",
        help="what an experiment measured; by default that of each one that has run",
    )
    parser.add_argument("--figures", type=Path, help="folder of the figures that the page links")
    parser.add_argument("--tables", type=Path, help="folder of the tables that the page links")
    parser.add_argument("--out", type=Path, help="folder of claims.md and claims.json")

    for command, names, run in (("table", TABLES, _table), ("figure", FIGURES, _figure)):
        draw = commands.add_parser(command, help=f"write one {command} of this artifact")
        settings_options(draw, command, run)
        kinds = f"{', '.join(names)}; {next(iter(names)).partition('_')[0]} will do, too"
        draw.add_argument("which", type=one_of(names, command), metavar="NAME", help=kinds)
        draw.add_argument("--measurements", type=Path, help="what the experiment measured")
        draw.add_argument("--out", type=Path, help="folder to write to")


def _claims(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    from infwidth.claims.claims import FILE
    from infwidth.claims.judge import find, judge
    from infwidth.claims.page import PAGE, Links, page

    rules = read_claims(args.rules)
    asked = dict.fromkeys(claim.experiment for claim in rules.claims)
    if args.measured:
        folders = _named(args.measured)
    else:
        that_may = {name: layout.measurements(name) for name in asked}
        folders = {name: folder for name, folder in that_may.items() if folder.exists()}
    unknown = folders.keys() - asked.keys()
    if unknown:
        raise UserError(f"--measured: no claim is of {min(unknown)} (known: {', '.join(asked)})")
    if not folders:
        raise UserError(f"{layout.results}: nothing is measured; run `make reproduce` first")
    found = {name: find(name, folders[name]) for name in asked if name in folders}
    judged = judge(rules, found, settings, args.rules.read_text(encoding="utf-8"))
    out = args.out or layout.results

    def seen_from_page(path: Path) -> str:
        return Path(os.path.relpath(path, out)).as_posix()

    links = Links(
        figures=seen_from_page(args.figures or layout.figures),
        tables=seen_from_page(args.tables or layout.tables),
        measurements={name: seen_from_page(folder) for name, folder in folders.items()},
        rules=seen_from_page(args.rules),
    )
    write_atomically(out / PAGE, page(judged, links))
    write_json(out / FILE, judged.as_json() | {SHA256: {PAGE: sha256(out / PAGE)}})


def _named(measured: list[str]) -> dict[str, Path]:
    """The folders of --measured, by experiment."""
    folders = {}
    for text in measured:
        name, equals, folder = text.partition("=")
        if not equals:
            raise UserError(f"--measured {text}: write EXPERIMENT=FOLDER")
        folders[name] = Path(folder)
    return folders


def _table(args: argparse.Namespace, _: Settings, layout: Layout) -> None:
    from infwidth.drawing.make import build_and_write

    measurements = args.measurements or layout.measurements(TABLES[args.which])
    build_and_write(args.which, measurements, args.out or layout.tables)


def _figure(args: argparse.Namespace, _: Settings, layout: Layout) -> None:
    from infwidth.drawing.make import draw_and_save

    measurements = args.measurements or layout.measurements(FIGURES[args.which])
    draw_and_save(args.which, measurements, args.out or layout.figures)
