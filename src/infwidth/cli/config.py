# SPDX-License-Identifier: Apache-2.0
"""`infwidth config`: check a configuration, write the schemas and the pages made from it."""

import argparse
from pathlib import Path

from infwidth.atomic import write_atomically
from infwidth.claims.schema import claims_schema, read_claims
from infwidth.cli.figures_page import pages
from infwidth.cli.options import settings_options
from infwidth.config.settings import Settings, json_schema, reference_page
from infwidth.layout import Layout

SCHEMA = Path("workflow/schemas/config.schema.json")
CLAIMS_SCHEMA = Path("workflow/schemas/claims.schema.json")
REFERENCE = Path("docs/configuration.md")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser("config", help="check the configuration, write its reference")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="validate, and print the effective settings")
    settings_options(check, "config check")
    check.set_defaults(run=_check)
    write = actions.add_parser(
        "reference",
        help=f"write {SCHEMA}, {CLAIMS_SCHEMA.name} and the pages under docs/ made from them",
    )
    settings_options(write, "config reference")
    write.set_defaults(run=_write)


def _check(_: argparse.Namespace, settings: Settings, __: Layout) -> None:
    print(settings.model_dump_json(indent=2))


def _write(_: argparse.Namespace, __: Settings, ___: Layout) -> None:
    write_atomically(SCHEMA, json_schema())
    write_atomically(CLAIMS_SCHEMA, claims_schema())
    write_atomically(REFERENCE, reference_page())
    for path, text in pages(REFERENCE.parent, read_claims()).items():
        write_atomically(path, text)
