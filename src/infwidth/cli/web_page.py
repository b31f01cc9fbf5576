# SPDX-License-Identifier: Apache-2.0
"""Markdown as one HTML page that stands by itself: for the report, and for a phone."""

import html
import itertools
import re
from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from infwidth.claims.page import anchor

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


def web_page(markdown: str, title: str) -> str:
    """Turns Markdown with GitHub's tables into a page that needs no other file.

    Wide tables scroll by themselves, so that a page fits a phone. Links within the page and to the
    web stay; those to files beside the Markdown would lead nowhere, and become plain text.

    Args:
      markdown: the text; HTML in it is shown, not obeyed.
      title: of the page.

    Returns:
      HTML.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("table_open", lambda *_: '<div class="wide"><table>\n')
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    tokens = parser.parse(markdown)
    for token, text in itertools.pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor(_plain(text.children or [])))
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


def _plain(children: Sequence[Token]) -> str:
    return "".join(child.content for child in children)


def _without_files(children: Sequence[Token]) -> list[Token]:
    kept, open_links = [], []
    for child in children:
        if child.type == "link_open":
            open_links.append(_leads_somewhere(child.attrGet("href")))
        if child.type not in ("link_open", "link_close") or open_links[-1]:
            kept.append(child)
        if child.type == "link_close":
            open_links.pop()
    return kept


def _leads_somewhere(href: Any) -> bool:
    return re.match(r"#|https?://", str(href)) is not None
