# SPDX-License-Identifier: Apache-2.0
"""`infwidth expected_value`: the mean over inits of finite models against the infinite model."""

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
        "expected_value", help="compare the mean over inits with the infinite model"
    )
    settings_options(parser, "expected_value")
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
    from infwidth.experiments.expected_value import measure as expected_value
    from infwidth.experiments.expected_value import models as expected_value_models
    from infwidth.experiments.parts import Parts
    from infwidth.experiments.recording import write_measurements

    own = settings.expected_value
    folder = args.parts or layout.results / "expected_value" / "parts"
    modules = (expected_value.__name__, load_digits.__module__)
    tables = expected_value.measure(
        expected_value_models.make_problem(own, *load_digits()),
        own,
        settings.statistics.confidence,
        Parts(folder, modules, platform, args.retrain),
    )
    out = args.out or layout.measurements("expected_value")
    write_measurements(out, tables, settings.model_dump(mode="json") | origin(modules))
