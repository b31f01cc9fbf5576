# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share."""

import argparse
from pathlib import Path

RETRAIN = "INFWIDTH_RETRAIN"
"""Environment variable: 1 where the workflow wants its runs trained anew."""


def settings_options(parser: argparse.ArgumentParser, command: str) -> None:
    """Adds where a command takes its settings from, by hand or from the workflow.

    Args:
      command: the command's name in `infwidth.config.slices.SLICES`.
    """
    parser.set_defaults(command=command)
    group = parser.add_argument_group(
        "settings", "one value after each option; give an option again for one more"
    )
    # Snakemake takes several values after one option, which would swallow a target that follows.
    group.add_argument(
        "--configfile",
        action="extend",
        type=_files,
        metavar="FILE",
        help="overlay on config/config.yaml, such as config/quick.yaml (default: none)",
    )
    group.add_argument(
        "--config",
        action="append",
        metavar="KEY=VALUE",
        help="override, such as 'training={steps: 2000}' (default: none)",
    )
    group.add_argument("--settings", metavar="JSON", help=argparse.SUPPRESS)


def _files(text: str) -> list[str]:
    """A file's name; or several, as `make` hands them over."""
    return [text] if Path(text).exists() else text.split() or [text]
