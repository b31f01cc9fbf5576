# SPDX-License-Identifier: Apache-2.0
"""`infwidth publish`: what is complete, to be committed: measurements, figures, claims, records."""

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from infwidth.atomic import write_atomically
from infwidth.catalogue import schemas
from infwidth.cli.parser import settings_options
from infwidth.config.errors import UserError
from infwidth.config.load import CLAIMS
from infwidth.config.settings import Settings
from infwidth.data.files import MANIFEST, describe_files, replacing_folder
from infwidth.layout import LONG, PUBLISHED, RUNS, Layout
from infwidth.stored import ASIDE, check, write_json

_ABOUT = f"""\
Takes what is complete of the default configuration to {PUBLISHED}, and of the long one
(--configfile config/long.yaml) to {PUBLISHED / LONG}: draws figures and tables of its experiments,
judges their claims, packs the records of their runs, and writes a manifest of sha256, whole or not
at all. Experiments that are not complete are named; what was published of them before stays as it
was measured. `make publish` first brings all of the default up to date.
"""
_OWNED = ("measurements", "figures", "tables", "claims.json", "claims.md", RUNS, MANIFEST)


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "publish",
        help=f"copy measurements, figures, tables, claims and records of runs to {PUBLISHED}",
        description=_ABOUT,
    )
    settings_options(parser, "publish", _publish)


def _publish(_args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    """Draws all anew, so that no figure is of other measurements than those beside it."""
    from infwidth.artifact.published import Published
    from infwidth.artifact.redraw import NAMES, redraw
    from infwidth.experiments.run_rows import trained_again
    from infwidth.experiments.tables import SETTINGS, SETTINGS_KEYS
    from infwidth.reading import read_json
    from infwidth.training.archive import export_runs, import_runs

    places = {"default": PUBLISHED, LONG: PUBLISHED / LONG}
    if settings.name not in places:
        raise UserError(
            f"the configuration '{settings.name}': what is published is the default "
            "configuration's, or config/long.yaml's"
        )
    before = Published(places[settings.name])
    measured = {name: layout.measurements(name) for name in settings.experiments}
    new = {name: path for name, path in measured.items() if (path / SETTINGS).is_file()}
    if not new:
        config = " CONFIG=config/long.yaml" if settings.name == LONG else ""
        raise UserError(
            f"{next(iter(measured.values()))}: not there, and nothing else of '{settings.name}' is "
            f"complete; run `make reproduce{config}` first"
        )
    for name, folder in new.items():
        for file in (SETTINGS, *(f"{table}.parquet" for table in schemas(name))):
            check(folder / file, "infwidth reproduce")
    for record in (*layout.figures.glob("*.json"), *layout.tables.glob("*.json")):
        check(record, "infwidth reproduce")
    kept = {
        name: before.measurements(name)
        for name in before.experiments
        if name not in (*new, "claims")
    }
    if kept:
        before.verify()
    with replacing_folder(before.folder, frozenset({*_OWNED, LONG})) as folder:
        for name, path in (new | kept).items():
            ignored = shutil.ignore_patterns(f"*{ASIDE}")
            shutil.copytree(path, folder / "measurements" / name, ignore=ignored)
        for _ in redraw(NAMES, Published(folder), folder, settings, CLAIMS):
            pass
        with trained_again(layout.results.glob("*/*/*.json")):
            export_runs(layout.runs, folder / RUNS)
        if (before.folder / RUNS).is_file():
            with tempfile.TemporaryDirectory() as name:
                for archive in (folder / RUNS, before.folder / RUNS):
                    import_runs(archive, Path(name))
                export_runs(Path(name), folder / RUNS)
        _finish(folder, before.folder, [*new, *kept])
        if (before.folder / LONG).is_dir():
            shutil.copytree(before.folder / LONG, folder / LONG)
    for name, path in measured.items():
        state = f"left out: {path} is not there"
        if name in new or name in kept:
            commit = read_json(before.measurements(name) / SETTINGS, SETTINGS_KEYS)["commit"]
            state = f"{'complete' if name in new else 'kept as published'}, at {commit[:10]}"
        print(f"{name:20}{state}")


def _finish(folder: Path, place: Path, experiments: Iterable[str]) -> None:
    """Writes the page of claims, as seen from where the folder will lie, and the manifest."""
    from infwidth.artifact.published import Published
    from infwidth.claims.claims import load
    from infwidth.claims.page import PAGE, page

    rules = Path(os.path.relpath(CLAIMS, place)).as_posix()
    write_atomically(folder / PAGE, page(load(folder), Published(place).links(experiments, rules)))
    files = describe_files(folder)
    write_json(folder / MANIFEST, {"sha256": {name: files[name]["sha256"] for name in files}})
