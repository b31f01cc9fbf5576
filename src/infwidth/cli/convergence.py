# SPDX-License-Identifier: Apache-2.0
"""`infwidth convergence`: finite models on their way to the exact infinite one."""

import argparse
import os
from pathlib import Path

from infwidth.cli.options import RETRAIN, settings_options
from infwidth.cli.origin import origin
from infwidth.cli.parser import one_of
from infwidth.config.settings import Settings
from infwidth.experiments.convergence.settings import RULES
from infwidth.layout import Layout


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "convergence", help="compare finite widths with the exact infinite model"
    )
    settings_options(parser, "convergence")
    parser.add_argument(
        "--rule",
        type=one_of(RULES, "rule"),
        metavar="NAME",
        help=f"train this rule's models and compare nothing yet: {', '.join(RULES)} (default: all)",
    )
    parser.add_argument("--parts", type=Path, help="folder of what is trained already")
    parser.add_argument(
        "--out", type=Path, help="folder of the measurements; with --rule, file to write"
    )
    parser.add_argument("--retrain", action="store_true", help="forget cached models, train anew")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    # JAX reads its environment when it is imported, so the process is set up first.
    from infwidth.training.devices import set_up

    platform = set_up(layout.results / "compile_cache")

    from infwidth.data.digits import load_digits
    from infwidth.experiments.convergence import measure as convergence
    from infwidth.experiments.convergence import models as convergence_models
    from infwidth.experiments.parts import Parts
    from infwidth.experiments.recording import write_measurements
    from infwidth.stored import write_json

    own, folder = settings.convergence, layout.results / "convergence"
    problem = convergence_models.make_problem(own, *load_digits())
    # In the workflow, what gathers finds the models that the rules' own jobs trained anew.
    retrain = args.retrain or (args.rule is not None and os.environ.get(RETRAIN) == "1")
    modules = (convergence.__name__, load_digits.__module__)
    parts = Parts(args.parts or folder / "parts", modules, platform, retrain)
    if args.rule is not None:
        count = sum(1 for _ in convergence.train(problem, args.rule, own, parts))
        write_json(args.out or folder / f"{args.rule}.json", {"rule": args.rule, "models": count})
        return
    write_measurements(
        args.out or layout.measurements("convergence"),
        convergence.measure(problem, own, parts),
        settings.model_dump(mode="json") | origin(modules),
    )
