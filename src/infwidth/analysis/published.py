# SPDX-License-Identifier: Apache-2.0
"""What is published: where measurements, figures, tables and claims lie; that it is whole."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from infwidth.analysis.claims_page import Links
from infwidth.analysis.reading import digest, read_json
from infwidth.catalogue import EXPERIMENTS
from infwidth.config.errors import UserError
from infwidth.layout import LONG

MANIFEST = "manifest.json"


class Published:
    """The paths of a published copy.

    Args:
        folder: as `infwidth publish` wrote it.
    """

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
        """The links of the page of claims, which lies in the folder itself.

        Args:
            experiments: those that the claims are judged from.
            rules: the file of the rules, seen from the page.
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
        listed = read_json(path, ("sha256",))["sha256"]
        for name, expected in listed.items():
            if digest(self.folder / name) != expected:
                raise UserError(
                    f"{self.folder / name}: not the published file (its sha256 differs from that "
                    f"in {MANIFEST}); restore it, as by `git checkout`"
                )
        for path in sorted(self.measurements("").rglob("*")):
            if path.is_dir():
                continue
            if path.relative_to(self.folder).as_posix() not in listed:
                raise UserError(f"{path}: not in {MANIFEST}; move it elsewhere")
        return len(listed)
