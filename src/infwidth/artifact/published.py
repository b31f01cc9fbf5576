# SPDX-License-Identifier: Apache-2.0
"""What is published: where it lies, that it is whole, and all of it drawn anew and compared.

No training, and no JAX: what this imports is plots, analysis and the settings.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from infwidth.atomic import write_atomically
from infwidth.catalogue import EXPERIMENTS, FIGURES, TABLES
from infwidth.claims.claims import FILE
from infwidth.claims.judge import find, judge
from infwidth.claims.page import PAGE, Links, page
from infwidth.claims.schema import read_claims
from infwidth.config.errors import UserError
from infwidth.config.settings import Settings
from infwidth.drawing.make import build_and_write, draw_and_save
from infwidth.layout import LONG
from infwidth.provenance import comparable
from infwidth.stats.sameness import Sameness, compare_texts
from infwidth.stored import digest, read_record, write_json

MANIFEST = "manifest.json"
CLAIMS_NAME = "claims"
NAMES = (*FIGURES, *TABLES, CLAIMS_NAME)
"""Everything that is drawn from measurements."""

LEVELS = 2
"""Of 255: pixels that differ by no more are equal to rounding.

The shade of an edge is its position within a pixel, so that rounding moves it by one level.
"""


class Published:
    """The paths of a published copy, as `infwidth publish` wrote it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.figures = folder / "figures"
        self.tables = folder / "tables"

    def measurements(self, experiment: str) -> Path:
        """What an experiment measured; of the claims, the folder of their page."""
        return self.folder if experiment == "claims" else self.folder / "measurements" / experiment

    @property
    def tiers(self) -> "list[Published]":
        """This, and the studies of the long configuration where they are published in it."""
        long = Published(self.folder / LONG)
        return [self, long] if (long.folder / MANIFEST).is_file() else [self]

    @property
    def configuration(self) -> str:
        """The name of the configuration that is published here."""
        return LONG if self.folder.name == LONG else "default"

    @property
    def experiments(self) -> list[str]:
        """What was measured, and the claims."""
        return [name for name in EXPERIMENTS if self.measurements(name).is_dir()]

    def made(self, names: Mapping[str, str]) -> list[str]:
        """The figures or tables, of those of a catalogue, that are made from what is here."""
        there = self.experiments
        return [name for name, experiment in names.items() if experiment in there]

    def links(self, experiments: Iterable[str], rules: str) -> Links:
        """The links of the page of claims, judged from experiments by rules in a file.

        The page lies in the folder itself, and the path of the rules is as seen from there.
        """
        there = {name: f"measurements/{name}" for name in experiments}
        return Links(figures="figures", tables="tables", measurements=there, rules=rules)

    def verify(self) -> int:
        """Checks every file against its sha256 in the manifest; returns how many there are.

        Raises:
            UserError: a file is missing, or differs, or lies among the measurements unlisted.
        """
        path = self.folder / MANIFEST
        if not path.is_file():
            raise UserError(f"{path} is missing: {self.folder} is no folder of published results")
        listed = read_record(path, ("sha256",))["sha256"]
        for name, expected in listed.items():
            if digest(self.folder / name) != expected:
                raise UserError(
                    f"{self.folder / name}: not the published file (its sha256 differs from that "
                    f"in {MANIFEST}); restore it, as by `git checkout`"
                )
        for path in sorted(self.measurements("").rglob("*")):
            if not path.is_dir() and path.relative_to(self.folder).as_posix() not in listed:
                raise UserError(f"{path}: not in {MANIFEST}; move it elsewhere")
        return len(listed)


@dataclass(frozen=True)
class Redrawn:
    """A figure, a table or the claims as drawn, and how each file compares with the published."""

    name: str
    files: dict[str, Sameness]
    note: str = ""  # more on what differs

    @property
    def sameness(self) -> Sameness:
        """That of the file which is furthest off."""
        return max(self.files.values(), key=list(Sameness).index)


def redraw(
    names: Iterable[str], published: Published, out: Path, settings: Settings, rules: Path
) -> Iterator[Redrawn]:
    """Draws what is named and was measured, each when the one before was taken.

    Args:
        names: some of `NAMES`.
        published: holds the measurements, and what to compare with.
        out: gets `figures/`, `tables/`, claims.json and claims.md.
        settings: by which claims are judged.
        rules: of the claims.

    Raises:
        UserError: incomplete measurements.
    """
    wanted = set(names) & {*published.made(FIGURES | TABLES), CLAIMS_NAME}
    needs_claims = {name for name, experiment in TABLES.items() if experiment == CLAIMS_NAME}
    if wanted & {CLAIMS_NAME, *needs_claims}:
        claims = _claims(published, out, settings, rules)
        if CLAIMS_NAME in wanted:
            yield claims
    for name in (name for name in TABLES if name in wanted):
        yield _table(name, published, out)
    for name in (name for name in FIGURES if name in wanted):
        yield _figure(name, published, out)


def _claims(published: Published, out: Path, settings: Settings, path: Path) -> Redrawn:
    rules = read_claims(path)
    asked = [
        name
        for name in dict.fromkeys(claim.experiment for claim in rules.claims)
        if published.measurements(name).is_dir()
    ]
    found = {name: find(name, published.measurements(name)) for name in asked}
    judged = judge(rules, found, settings, path.read_text(encoding="utf-8"))
    write_json(out / FILE, judged.as_json())

    def seen_from(folder: Path, target: Path) -> str:
        return Path(os.path.relpath(target, folder)).as_posix()

    links = Links(
        figures="figures",
        tables="tables",
        measurements={name: seen_from(out, published.measurements(name)) for name in asked},
        rules=seen_from(out, path),
    )
    write_atomically(out / PAGE, page(judged, links))
    # The published page lies elsewhere than this one, so its links are others.
    there = page(judged, published.links(asked, seen_from(published.folder, path)))
    files = {
        FILE: _compare(published.folder / FILE, (out / FILE).read_text(encoding="utf-8")),
        PAGE: _compare(published.folder / PAGE, there, shown=True),
    }
    return Redrawn(CLAIMS_NAME, files)


def _table(name: str, published: Published, out: Path) -> Redrawn:
    experiment = TABLES[name]
    source = out if experiment == CLAIMS_NAME else published.measurements(experiment)
    files = {}
    for path in build_and_write(name, source, out / "tables"):
        text, shown = path.read_text(encoding="utf-8"), path.suffix != ".csv"
        files[path.name] = _compare(published.tables / path.name, text, shown)
    return Redrawn(name, files)


def _figure(name: str, published: Published, out: Path) -> Redrawn:
    pdf, png, record = draw_and_save(name, published.measurements(FIGURES[name]), out / "figures")
    picture, note = _compare_pictures(published.figures / png.name, png)
    there = published.figures / record.name
    files = {png.name: picture, record.name: _compare(there, record.read_text(encoding="utf-8"))}
    # Of a PDF only its bytes are compared: where they are others, the picture decides.
    if _same_bytes(published.figures / pdf.name, pdf):
        files[pdf.name] = Sameness.SAME
    elif picture is not Sameness.OTHER:
        files[pdf.name] = Sameness.ROUNDING
    else:
        files[pdf.name] = Sameness.OTHER
    return Redrawn(name, files, note)


def _compare(published: Path, text: str, shown: bool = False) -> Sameness:
    if not published.is_file():
        return Sameness.OTHER
    there = published.read_text(encoding="utf-8")
    if published.suffix == ".json":
        there, text = (json.dumps(comparable(json.loads(each))) for each in (there, text))
    return compare_texts(there, text, shown)


def _same_bytes(first: Path, second: Path) -> bool:
    return first.is_file() and first.read_bytes() == second.read_bytes()


def _compare_pictures(published: Path, drawn: Path) -> tuple[Sameness, str]:
    """Compares two pictures pixel by pixel; with a note where they are not equal."""
    import numpy as np
    from matplotlib.image import imread

    if _same_bytes(published, drawn):
        return Sameness.SAME, ""
    if not published.is_file():
        return Sameness.OTHER, f"{published} is missing"
    before, after = (np.rint(255 * imread(path)) for path in (published, drawn))
    if before.shape != after.shape:
        return Sameness.OTHER, f"{after.shape[1]} × {after.shape[0]} pixels"
    gaps_HxW = np.abs(before - after).max(axis=2)
    share, largest = float((gaps_HxW > 0).mean()), int(gaps_HxW.max())
    word = Sameness.ROUNDING if largest <= LEVELS else Sameness.OTHER
    return word, f"{share:.2%} of the pixels, by up to {largest} of 255"
