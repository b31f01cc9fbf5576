# SPDX-License-Identifier: Apache-2.0
"""`infwidth feature_support`: features whose law is not totally supported."""

import argparse
import os
from pathlib import Path

from infwidth.cli.options import RETRAIN, settings_options
from infwidth.cli.origin import origin
from infwidth.config.settings import Settings
from infwidth.layout import Layout


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "feature_support", help="measure the error that stays where features leave a direction out"
    )
    settings_options(parser, "feature_support")
    parser.add_argument("--parts", type=Path, help="folder of what is computed already")
    parser.add_argument("--out", type=Path, help="folder of the measurements")
    parser.add_argument(
        "--retrain",
        action="store_true",
        default=os.environ.get(RETRAIN) == "1",
        help="forget cached parts, compute anew",
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    # JAX reads its environment when it is imported, so the process is set up first.
    from infwidth.training.devices import set_up

    platform = set_up(layout.results / "compile_cache")

    from infwidth.experiments.feature_support import measure as feature_support
    from infwidth.experiments.parts import Parts
    from infwidth.experiments.recording import write_measurements

    folder = args.parts or layout.results / "feature_support" / "parts"
    modules = (feature_support.__name__,)
    parts = Parts(folder, modules, platform, args.retrain)
    tables = feature_support.measure(settings.feature_support, parts)
    out = args.out or layout.measurements("feature_support")
    write_measurements(out, tables, settings.model_dump(mode="json") | origin(modules))
