# SPDX-License-Identifier: Apache-2.0
"""Walks through the report in a headless Chromium, at a desk's width and at a phone's.

Usage: check_report.py REPORT.html [FOLDER OF SCREENSHOTS]. Needs `playwright` and a Chromium.
"""

import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, Request, sync_playwright

from infwidth.catalogue import FIGURES, TABLES

SIZES = {"desk": (1280, 900), "phone": (390, 844)}
CATEGORIES = {
    "1. Claims": 1,
    "2. Figures": len(FIGURES),
    "3. Tables": len(TABLES),
    "4. Settings, software, hardware": 1,
}


class Walk:
    """What is wrong with the report at one size."""

    def __init__(self, page: Page, size: str, shots: Path | None):
        self._page, self._size, self._shots = page, size, shots
        self.problems: list[str] = []
        self.seen = 0
        page.on("console", lambda m: self._wrong(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self._wrong(str(error)))
        page.on("request", self._offline)

    def run(self, report: Path) -> None:
        """Opens every result of every category."""
        for category, count in CATEGORIES.items():
            self._page.goto(report.as_uri())
            self._page.get_by_text(category).click()
            names = [row.split("\t")[0].strip() for row in self._rows()]
            if len(names) != count:
                self._wrong(f"{category}: {len(names)} results in place of {count}")
            for place, name in enumerate(names):
                self._open(place, name)

    def _rows(self) -> list[str]:
        self._page.wait_for_selector("nav table tbody tr")
        return self._page.locator("nav table tbody tr").all_inner_texts()

    def _open(self, place: int, name: str) -> None:
        self._page.locator("nav table tbody tr").nth(place).locator("a[iconname=eye]").click()
        shown = self._page.locator("#app > div > nav + div").locator("img, iframe").first
        shown.wait_for()
        self._page.wait_for_timeout(300)
        box = shown.bounding_box()
        if shown.evaluate("e => e.tagName") == "IMG":
            if not shown.evaluate("e => e.complete && e.naturalWidth > 500"):
                self._wrong(f"{name}: the figure is not drawn")
        else:
            frame = shown.element_handle().content_frame()
            if len(frame.inner_text("body")) < 100:
                self._wrong(f"{name}: the page is empty")
            if frame.evaluate("document.documentElement.scrollWidth > innerWidth + 1"):
                self._wrong(f"{name}: the page is wider than its place")
        if box is None or box["width"] < 300:
            self._wrong(f"{name}: shown {box and box['width']} pixels wide")
        self.seen += 1
        if self._shots:
            file = re.sub(r"\W+", "_", name)
            self._page.screenshot(path=self._shots / f"{self._size}-{file}.png")

    def _offline(self, request: Request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:", "about:")):
            self._wrong(f"asks the network for {request.url}")

    def _wrong(self, text: str) -> None:
        self.problems.append(f"{self._size}: {text}")


def main() -> int:
    """Checks at both sizes; returns the exit status."""
    report = Path(sys.argv[1]).resolve()
    shots = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
    problems, seen = [], 0
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for size, (width, height) in SIZES.items():
            context = chromium.new_context(
                viewport={"width": width, "height": height}, offline=True
            )
            walk = Walk(context.new_page(), size, shots)
            walk.run(report)
            problems += walk.problems
            seen += walk.seen
    print("\n".join(problems) or f"{report.name}: {seen} results opened, none wrong")
    return bool(problems)


sys.exit(main())
