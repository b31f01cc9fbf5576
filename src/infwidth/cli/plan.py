# SPDX-License-Identifier: Apache-2.0
"""`infwidth plan`: what a configuration costs, and what of it is done, before anything runs."""

import argparse
import json

from infwidth.artifact.planning.chips import DEFAULT_UTILISATION
from infwidth.atomic import write_atomically
from infwidth.cli.parser import settings_options
from infwidth.cli.status import platform_of_runs
from infwidth.config.errors import UserError
from infwidth.config.settings import Settings
from infwidth.layout import Layout


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "plan", help="say what runs, FLOPs, memory, disk and device-hours it takes"
    )
    settings_options(parser, "plan", _plan)
    parser.add_argument(
        "--utilisation",
        default=str(DEFAULT_UTILISATION),
        metavar="SHARE",
        help="share of a chip's peak that is reached",
    )
    parser.add_argument(
        "--platform",
        choices=("cpu", "gpu", "tpu"),
        help="what the runs are for (default: what they would run on here)",
    )
    parser.add_argument("--runs", action="store_true", help="list the runs by variant and width")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    parser.add_argument("--page", action="store_true", help="write docs/costs.md anew instead")


def _plan(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    if args.page:
        from infwidth.artifact.planning.page import PAGE, costs_page

        write_atomically(PAGE, costs_page())
        return
    from infwidth.artifact.planning.plan import make_plan
    from infwidth.artifact.planning.text import render

    platform = args.platform or platform_of_runs()
    plan = make_plan(settings, layout, platform, _share(args.utilisation))
    print(json.dumps(plan, indent=2) if args.json else render(plan, args.runs), end="")


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UserError(f"--utilisation {text}: write a number above 0 and at most 1, as in 0.4")
    return share
