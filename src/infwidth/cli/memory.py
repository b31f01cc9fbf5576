# SPDX-License-Identifier: Apache-2.0
"""`infwidth memory`: bytes of the kernel form against the dense form."""

import argparse
from pathlib import Path

from infwidth.cli.options import settings_options
from infwidth.cli.origin import origin
from infwidth.config.settings import Settings
from infwidth.layout import Layout


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "memory", help="count the bytes of the kernel form and the dense form"
    )
    settings_options(parser, "memory")
    parser.add_argument("--out", type=Path, help="folder of the measurements")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    # JAX reads its environment when it is imported, so the process is set up first.
    from infwidth.training.devices import set_up

    set_up(layout.results / "compile_cache")

    from infwidth.experiments.memory.measure import Bench, measure
    from infwidth.experiments.recording import write_measurements

    tables = measure(settings.memory, Bench(settings.model, settings.training.batch_size))
    out = args.out or layout.measurements("memory")
    code = origin(("infwidth.experiments.memory.measure", "infwidth.optim.adam_star"))
    write_measurements(out, tables, settings.model_dump(mode="json") | code)
