# SPDX-License-Identifier: Apache-2.0
"""`infwidth pages`: the claims, the tables and the circumstances as HTML, for the report."""

import argparse
import html
import itertools
import os
import platform
import re
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from infwidth.atomic import write_atomically
from infwidth.catalogue import TABLES, covered
from infwidth.cli.parser import settings_options
from infwidth.config.errors import UserError
from infwidth.config.load import pick
from infwidth.config.settings import Settings
from infwidth.config.slices import SLICES
from infwidth.layout import Layout
from infwidth.provenance import code_commit
from infwidth.stored import check

if TYPE_CHECKING:
    from markdown_it.token import Token

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; margin: 1rem auto; padding: 0 1rem;
  max-width: 70rem; overflow-wrap: break-word; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.2rem; } h3 { font-size: 1rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid #ddd; vertical-align: top; }
th { text-align: left; border-bottom: 1px solid #333; }
code { font-size: 0.85em; }
pre { overflow-x: auto; background: #f6f6f6; padding: 0.6rem; }
a { color: #0b5394; }
"""

_CIRCUMSTANCES = """\
# Settings, software and hardware

Of the environment that made this report. The record of each figure and of each
measurement (the `.json` beside it) says what that one was made with.

- Commit: `{commit}`
- System: {system}, {cores} cores, {processor}
- Python {python}

## Settings

```yaml
{settings}
```

## Packages

| package | version |
|---|---|
{packages}
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser("pages", help="write claims, tables and circumstances as HTML")
    settings_options(parser, "pages", _run)
    parser.add_argument("--claims", type=Path, help="the page of the claims, Markdown")
    parser.add_argument("--tables", type=Path, help="folder of the tables")
    parser.add_argument("--out", type=Path, help="folder to write to")


def _run(args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    from infwidth.claims.page import PAGE

    out = args.out or layout.pages
    sources = {"claims": args.claims or layout.results / PAGE}
    sources |= {
        name: (args.tables or layout.tables) / f"{name}.md"
        for name in covered(TABLES, settings.experiments)
    }
    texts = {name: _read(path) for name, path in sources.items()}
    texts["circumstances"] = _circumstances(settings)
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
    return _CIRCUMSTANCES.format(
        commit=code_commit(),
        system=platform.platform(),
        cores=os.cpu_count(),
        processor=_processor(),
        python=platform.python_version(),
        settings=yaml.safe_dump(pick(settings, SLICES["pages"]), sort_keys=False).rstrip(),
        packages="\n".join(f"| {name} | {version} |" for name, version in packages),
    )


def _processor() -> str:
    """What the processor calls itself, where the system says so."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def web_page(markdown: str, title: str) -> str:
    """Turns Markdown with GitHub's tables into an HTML page that needs no other file.

    Wide tables scroll by themselves, so that a page fits a phone. Links within the page and to the
    web stay; those to files beside the Markdown would lead nowhere, and become plain text. HTML in
    the text is shown, not obeyed.
    """
    # Not among the packages of the light commands.
    from markdown_it import MarkdownIt

    from infwidth.claims.page import anchor

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("table_open", lambda *_: '<div class="wide"><table>\n')
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    tokens = parser.parse(markdown)
    for token, text in itertools.pairwise(tokens):
        if token.type == "heading_open":
            plain = "".join(child.content for child in text.children or [])
            token.attrSet("id", anchor(plain))
    for token in tokens:
        if token.children:
            token.children = _without_files(token.children)
    body = parser.renderer.render(tokens, parser.options, {})
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}</body>\n</html>\n"
    )


def _without_files(children: "Sequence[Token]") -> "list[Token]":
    kept, open_links = [], []
    for child in children:
        if child.type == "link_open":
            open_links.append(re.match(r"#|https?://", str(child.attrGet("href"))) is not None)
        if child.type not in ("link_open", "link_close") or open_links[-1]:
            kept.append(child)
        if child.type == "link_close":
            open_links.pop()
    return kept
