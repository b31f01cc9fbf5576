# SPDX-License-Identifier: Apache-2.0
"""Docstrings name equations and sections of docs/theory.md in words; on the site they are links."""

import re
from pathlib import Path
from posixpath import dirname, relpath

from pymdownx.slugs import slugify

THEORY = Path(__file__).resolve().parents[1] / "theory.md"
NAMED = re.compile(
    r"docs/theory\.md(?P<rest>,\s+(?:end\s+of\s+)?(?P<kind>equation|section)s?\s+"
    r"\(?\d+\)?(?:(?:,|\s+and|\s+to)\s+\(?\d+\)?)*)?"
)


def on_page_content(content, page, config, files):
    """Puts the links in, on the pages made from docstrings."""
    if not page.file.src_uri.startswith("api/"):
        return content
    theory = relpath("theory.html", dirname(page.file.dest_uri))
    headings = re.findall(r"^## ((\d+)\. .*)$", THEORY.read_text(encoding="utf-8"), re.MULTILINE)
    sections = {number: slugify(case="lower")(heading, "-") for heading, number in headings}

    def linked(match: re.Match) -> str:
        def numbered(found: re.Match) -> str:
            number = found[0].strip("()")
            anchor = sections[number] if match["kind"] == "section" else f"equation-{number}"
            return f'<a href="{theory}#{anchor}">{found[0]}</a>'

        rest = re.sub(r"\(\d+\)|\d+", numbered, match["rest"] or "")
        return f'<a href="{theory}">Theory</a>{rest}'

    return NAMED.sub(linked, content)
