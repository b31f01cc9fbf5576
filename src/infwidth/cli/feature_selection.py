# SPDX-License-Identifier: Apache-2.0
"""`infwidth feature_selection`: what reweighted frozen features reach of what features learn."""

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
        "feature_selection",
        help="weight frozen features up and down, and compare them with trained ones",
    )
    settings_options(parser, "feature_selection")
    parser.add_argument("--parts", type=Path, help="folder of what is computed already")
    parser.add_argument("--out", type=Path, help="folder of the measurements")
    parser.add_argument(
        "--retrain",
        action="store_true",
        default=os.environ.get(RETRAIN) == "1",
        help="forget cached parts, train anew",
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    # JAX reads its environment when it is imported, so the process is set up first.
    from infwidth.training.devices import set_up

    platform = set_up(layout.results / "compile_cache")

    from infwidth.data.digits import load_digits
    from infwidth.experiments.feature_selection import measure as feature_selection
    from infwidth.experiments.feature_selection.pruning import Digits
    from infwidth.experiments.parts import Parts
    from infwidth.experiments.recording import write_measurements

    own = settings.feature_selection
    folder = args.parts or layout.results / "feature_selection" / "parts"

    def parts_of(modules: tuple[str, ...]) -> Parts:
        return Parts(folder, modules, platform, args.retrain)

    tables = feature_selection.measure(own, Digits(own, *load_digits()), parts_of)
    out = args.out or layout.measurements("feature_selection")
    made_by = origin((feature_selection.__name__, load_digits.__module__))
    write_measurements(out, tables, settings.model_dump(mode="json") | made_by)
