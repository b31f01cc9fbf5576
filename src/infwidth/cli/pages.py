# SPDX-License-Identifier: Apache-2.0
"""`infwidth pages`: the claims, the tables and the circumstances as HTML, for the report."""

import argparse
import os
import platform
from importlib import metadata
from pathlib import Path

import yaml

from infwidth.atomic import write_atomically
from infwidth.catalogue import TABLES, covered
from infwidth.checkout import code_commit
from infwidth.cli.options import settings_options
from infwidth.config.errors import UserError
from infwidth.config.load import pick
from infwidth.config.settings import Settings
from infwidth.config.slices import SLICES
from infwidth.layout import Layout
from infwidth.stored import check

CIRCUMSTANCES = "circumstances"
"""Name of the page on settings, software and hardware."""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser("pages", help="write claims, tables and circumstances as HTML")
    settings_options(parser, "pages")
    parser.add_argument("--claims", type=Path, help="the page of the claims, Markdown")
    parser.add_argument("--tables", type=Path, help="folder of the tables")
    parser.add_argument("--out", type=Path, help="folder to write to")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    from infwidth.claims.page import PAGE
    from infwidth.cli.web_page import web_page

    out = args.out or layout.pages
    sources = {"claims": args.claims or layout.results / PAGE}
    sources |= {
        name: (args.tables or layout.tables) / f"{name}.md"
        for name in covered(TABLES, settings.experiments)
    }
    texts = {name: _read(path) for name, path in sources.items()}
    texts[CIRCUMSTANCES] = _circumstances(settings)
    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_atomically(out / f"{name}.html", web_page(text, name.replace("_", " ")))


def _read(path: Path) -> str:
    if not path.exists():
        raise UserError(f"{path}: not there; run `make reproduce` to its end first")
    check(path.with_suffix(".json"), "infwidth reproduce")
    return path.read_text(encoding="utf-8")


def _circumstances(settings: Settings) -> str:
    """What this page's runs were made with, and where the page itself was made."""
    packages = sorted(
        {(found.metadata["Name"], found.version) for found in metadata.distributions()},
        key=lambda package: package[0].lower(),
    )
    rows = [f"| {name} | {version} |" for name, version in packages]
    return "\n".join(
        [
            "# Settings, software and hardware",
            "",
            "Of the environment that made this report. The record of each figure and of each",
            "measurement (the `.json` beside it) says what that one was made with.",
            "",
            f"- Commit: `{code_commit()}`",
            f"- System: {platform.platform()}, {os.cpu_count()} cores, {_processor()}",
            f"- Python {platform.python_version()}",
            "",
            "## Settings",
            "",
            "```yaml",
            yaml.safe_dump(pick(settings, SLICES["pages"]), sort_keys=False).rstrip(),
            "```",
            "",
            "## Packages",
            "",
            "| package | version |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def _processor() -> str:
    """What the processor calls itself, where the system says so."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
