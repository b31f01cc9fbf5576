"""Options that several commands share."""

import argparse


def settings_options(parser: argparse.ArgumentParser, command: str) -> None:
    """Adds where a command takes its settings from, by hand or from the workflow.

    Args:
      command: the command's name in `infwidth.config.slices.SLICES`.
    """
    parser.set_defaults(command=command)
    group = parser.add_argument_group("settings")
    group.add_argument(
        "--configfile",
        nargs="+",
        metavar="FILE",
        help="overlays on config/config.yaml, such as config/quick.yaml",
    )
    group.add_argument(
        "--config",
        nargs="+",
        metavar="KEY=VALUE",
        help="overrides, such as 'training={steps: 2000}'",
    )
    group.add_argument("--settings", metavar="JSON", help=argparse.SUPPRESS)
