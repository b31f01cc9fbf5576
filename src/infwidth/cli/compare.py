# SPDX-License-Identifier: Apache-2.0
"""`infwidth compare`: what of your own results agrees with the published ones, cell by cell."""

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from infwidth.claims.schema import read_claims
from infwidth.config.errors import UserError
from infwidth.config.load import CLAIMS
from infwidth.config.settings import Settings
from infwidth.layout import PUBLISHED, Layout
from infwidth.stored import finite

if TYPE_CHECKING:
    from infwidth.artifact.comparing import Comparison

_SHOWN = 20

_ABOUT = f"""\
Compares each table of measurements with the published one, row by row, and then each claim.

  identical          every number is the same to the bit, as on the machine that published it
  equal to rounding  within 1e-5 of each number, as where nothing amplifies rounding
  agrees             training amplifies rounding, so runs on another machine end elsewhere: the
                     means of every arm over its repeats agree by a t test (moderated: arms of a
                     table lend each other what they know of their variance), with Holm's
                     correction; the chance of one false alarm over the tests of all tables and
                     claims is held to 5%. What has no repeats lies within a share of its column's
                     rms (`close`, in the experiment's TABLES)
  not judged         differs, and is a choice (a tuned rate) or its trials, or has one repeat
  disagrees          neither, or published cells are missing, or a count that is the same on every
                     platform (parameters, tokens, bytes) is another

"would find" is the shift of a mean, in standard deviations over repeats, that would be called a
disagreement. Claims are judged on both sides by the rules of {CLAIMS}, from the experiments that
both have. The effects behind them are tested with the errors of their intervals, corrected alike.
A verdict that moved disagrees only if an effect of its claim does, or is an exact number (a count)
and another one; it is listed in any case, since near a rule's bound chance decides the verdict.

Ends with status 1, and a line that says what, if a table, an effect or a verdict disagrees; with
status 2 where RESULTS were measured with other settings. Commit, device and lock may differ; the
packages of another version, and experiments that were not run, are named.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "compare",
        help="say what of your own results agrees with the published ones",
        description=_ABOUT,
    )
    parser.add_argument(
        "published",
        nargs="?",
        type=Path,
        default=PUBLISHED,
        metavar="PUBLISHED",
        help="folder that `infwidth publish` wrote",
    )
    parser.add_argument(
        "results",
        nargs="?",
        type=Path,
        metavar="RESULTS",
        help="folder of results, or of published ones again (default: results)",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON instead")
    parser.add_argument(
        "--exact", action="store_true", help="demand that every table be the same to the bit"
    )
    parser.set_defaults(run=_compare, command="claims")


def _compare(args: argparse.Namespace, settings: Settings, layout: Layout) -> int:
    from infwidth.artifact.comparing import compare
    from infwidth.artifact.published import Published

    published = Published(args.published)
    published.verify()
    results = args.results or layout.results
    here = _measured(results)
    if not here:
        raise UserError(
            f"{results}: nothing was measured here by the default configuration, the one that is "
            "published; run `make reproduce`, or a part of it, first"
        )
    compared = compare(published, here, settings, read_claims(CLAIMS))
    problems = compared.problems
    if args.exact and not compared.exact:
        problems += [
            f"{table.experiment}/{table.table}: {table.rows - table.identical} of {table.rows} "
            "rows are not the same to the bit"
            for table in compared.tables
            if table.word != "identical"
        ]
    if args.json:
        said = {"moved": compared.moved, "problems": problems, "agrees": not problems}
        print(json.dumps(finite(asdict(compared) | said), indent=2, ensure_ascii=False))
    else:
        _show(compared, problems)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        print(f"infwidth: disagrees: {problems[0]}{more}", file=sys.stderr)
    return int(bool(problems))


def _measured(results: Path) -> dict[str, Path]:
    """By experiment, the folder of what was measured; of results, or of a published copy."""
    from infwidth.experiments.registry import REGISTRY
    from infwidth.experiments.tables import SETTINGS

    published = (results / "measurements").is_dir()
    folders = {
        name: results / "measurements" / name if published else results / name / "measurements"
        for name in REGISTRY
    }
    return {name: folder for name, folder in folders.items() if (folder / SETTINGS).is_file()}


def _show(compared: "Comparison", problems: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    table = Table(box=None, header_style="bold")
    for column in ("table", "rows", "identical", "arms tested", "would find", "result"):
        table.add_column(column, justify="left" if column in ("table", "result") else "right")
    for each in compared.tables:
        resolution = "" if math.isnan(each.resolution) else f"{each.resolution:.1f} sd"
        tested = f"{each.tested:,}" if each.tested else ""
        name = f"{each.experiment}/{each.table}"
        numbers = (f"{each.rows:,}", f"{each.identical:,}", tested, resolution)
        table.add_row(name, *numbers, str(each.word))
    console.print(table)
    claims = compared.claims
    same = claims.count - len(claims.verdicts)
    known = [each.inside for each in claims.effects if each.inside is not None]
    console.print(
        f"\nClaims: {same} of {claims.count} verdicts are the same; {sum(known)} of {len(known)} "
        "effects lie inside each other's interval."
    )
    for moved in compared.moved:
        console.print(moved, soft_wrap=True, markup=False)
    if compared.absent:
        console.print(f"Not measured here: {', '.join(compared.absent)}.")
    if compared.software:
        versions = [f"{name} {after} ({before})" for name, before, after in compared.software]
        console.print(f"Other software here (published): {', '.join(versions)}.")
    for problem in problems[:_SHOWN]:
        console.print(f"✗ {problem}", soft_wrap=True, markup=False)
    if len(problems) > _SHOWN:
        console.print(f"and {len(problems) - _SHOWN} more; --json lists all")
