# SPDX-License-Identifier: Apache-2.0
"""`infwidth architectures`: the variants in an MLP, a CNN and an RNN, on digits."""

import argparse
import os
from pathlib import Path
from typing import get_args

from infwidth.cli.options import RETRAIN, settings_options
from infwidth.cli.origin import origin
from infwidth.cli.parser import one_of
from infwidth.config.settings import Settings
from infwidth.experiments.architectures.settings import Architecture
from infwidth.layout import Layout


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "architectures", help="train the variants in an MLP, a CNN and an RNN"
    )
    settings_options(parser, "architectures")
    known = get_args(Architecture)
    parser.add_argument(
        "--architecture",
        type=one_of(known, "architecture"),
        metavar="NAME",
        help=f"train this one's models and gather nothing yet: {', '.join(known)} (default: all)",
    )
    parser.add_argument("--parts", type=Path, help="folder of what is trained already")
    parser.add_argument(
        "--out", type=Path, help="folder of the measurements; with --architecture, file to write"
    )
    parser.add_argument("--retrain", action="store_true", help="forget cached models, train anew")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    # JAX reads its environment when it is imported, so the process is set up first.
    from infwidth.training.devices import set_up

    platform = set_up(layout.results / "compile_cache")

    from infwidth.data.digits import load_digits
    from infwidth.experiments.architectures import measure as architectures
    from infwidth.experiments.architectures import models as architectures_models
    from infwidth.experiments.parts import Parts
    from infwidth.experiments.recording import write_measurements
    from infwidth.stored import write_json

    own, folder = settings.architectures, layout.results / "architectures"
    problem = architectures_models.make_problem(own, *load_digits())
    # In the workflow, what gathers finds the models that the architectures' jobs trained anew.
    retrain = args.retrain or (args.architecture is not None and os.environ.get(RETRAIN) == "1")
    # Each part adds the code of its variant.
    parts = Parts(args.parts or folder / "parts", (), platform, retrain)
    if args.architecture is not None:
        studies = architectures.train(problem, own, args.architecture, parts)
        record = {"architecture": args.architecture, "runs": sum(len(s.runs()) for s in studies)}
        write_json(args.out or folder / f"{args.architecture}.json", record)
        return
    write_measurements(
        args.out or layout.measurements("architectures"),
        architectures.measure(problem, own, parts),
        settings.model_dump(mode="json") | origin(architectures.CODE),
    )
