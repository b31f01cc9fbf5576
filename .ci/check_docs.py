# SPDX-License-Identifier: Apache-2.0
"""Looks at the built site: all that the library offers is there, and every link leads somewhere.

Run it with the Python of an environment that has the library: `.venv-dev/bin/python
.ci/check_docs.py`, after `make docs`.
"""

import doctest
import importlib
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

SITE = Path(__file__).resolve().parents[1] / "site"
PACKAGES = ("optim", "kernels", "infinite")
WIDEST_SIGNATURE = 80


class Page(HTMLParser):
    """The anchors, links, examples and signatures of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.examples: list[str] = []
        self.signatures: list[str] = []
        self._kind: list[str] | None = None
        self._open = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Takes in what the attributes of a tag say."""
        found = {name: value or "" for name, value in attrs}
        self.anchors.add(found.get("id", ""))
        self.links += [found[name] for name in ("href", "src") if name in found]
        classes = found.get("class", "").split()
        if "highlight" in classes:
            kinds = {"doc-signature": self.signatures, "language-pycon": self.examples}
            self._kind = next((kinds[name] for name in classes if name in kinds), None)
        if tag == "code" and self._kind is not None:
            self._kind.append("")
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        """Closes a block of code."""
        if tag == "code" and self._open:
            self._kind, self._open = None, False

    def handle_data(self, data: str) -> None:
        """Takes in the text of a block of code."""
        if self._kind is not None and self._open:
            self._kind[-1] += data


def problems_of(page: Page, package: str) -> Iterator[str]:
    """What is missing on the page of a package."""
    module = importlib.import_module(f"infwidth.{package}")
    finder = doctest.DocTestFinder(recurse=False)
    for name in module.__all__:
        if f"infwidth.{package}.{name}" not in page.anchors:
            yield f"infwidth.{package}.{name} is not there"
        for test in finder.find(getattr(module, name), name):
            first = [f">>> {example.source}" for example in test.examples[:1]]
            if first and not any(block.startswith(first[0]) for block in page.examples):
                yield f"the example of {name} is no block of code"
    for signature in page.signatures:
        if max(map(len, signature.splitlines())) > WIDEST_SIGNATURE:
            yield f"a signature is cut off: {signature}"


def broken_links(page: Page, pages: dict[Path, Page]) -> Iterator[str]:
    """The links within the site that lead nowhere."""
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        path = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
        target = pages.get(path)
        if not path.is_file() or (target and unquote(parts.fragment) not in target.anchors):
            yield f"a link leads nowhere: {link}"


def main() -> int:
    """Prints what is wrong; returns the exit status."""
    pages = {path: Page(path) for path in sorted(SITE.rglob("*.html"))}
    problems = [
        f"{path.relative_to(SITE)}: {problem}"
        for path, page in pages.items()
        if path.name != "404.html"
        for problem in broken_links(page, pages)
    ]
    for package in PACKAGES:
        path = SITE / f"api/{package}.html"
        problems += [f"api/{path.name}: {each}" for each in problems_of(pages[path], package)]
    print("\n".join(problems) or f"site: {len(pages)} pages: sound")
    return bool(problems)


sys.exit(main())
