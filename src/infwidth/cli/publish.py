# SPDX-License-Identifier: Apache-2.0
"""`infwidth publish`: copies what ran to its end: measurements, figures, tables, claims, records.

The copy is there to be committed.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from infwidth.atomic import write_atomically
from infwidth.catalogue import FIGURES, TABLES, covered
from infwidth.cli.options import settings_options
from infwidth.config.errors import UserError
from infwidth.config.load import CLAIMS
from infwidth.config.settings import Settings
from infwidth.data.files import MANIFEST, describe_files, replacing_folder
from infwidth.layout import LONG, PUBLISHED, RUNS, Layout
from infwidth.stored import ASIDE, check, write_json

_ABOUT = f"""\
Copies a complete run of the default configuration to {PUBLISHED}, with a manifest of sha256, whole
or not at all; `make publish` first brings all of it up to date. Of the long configuration
(--configfile config/long.yaml) it takes the experiments that are complete to {PUBLISHED / LONG}:
it draws their figures and tables, judges their claims, and names those that it leaves out. Others
that were published there before stay as they were measured.
"""
_OWNED = ("measurements", "figures", "tables", "claims.json", "claims.md", RUNS, MANIFEST)


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "publish",
        help=f"copy measurements, figures, tables, claims and records of runs to {PUBLISHED}",
        description=_ABOUT,
    )
    settings_options(parser, "publish")
    parser.set_defaults(run=_publish)


def _publish(_: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    if settings.name == "default":
        _publish_whole(settings, layout)
    elif settings.name == LONG:
        _publish_complete(settings, layout)
    else:
        raise UserError(
            f"the configuration '{settings.name}': what is published is the default "
            "configuration's, or config/long.yaml's"
        )


def _publish_whole(settings: Settings, layout: Layout) -> None:
    from infwidth.claims.claims import FILE, load
    from infwidth.experiments.run_rows import trained_again
    from infwidth.training.archive import export_runs

    judged = load(layout.results)
    asked = [each.claim.experiment for each in judged.claims if each.measurements]
    figures, tables = (covered(names, settings.experiments) for names in (FIGURES, TABLES))
    experiments = dict.fromkeys([*settings.experiments, *asked])
    sources = {
        f"measurements/{name}": [
            path for path in sorted(layout.measurements(name).glob("*")) if path.suffix != ASIDE
        ]
        for name in experiments
    }
    sources["figures"] = [
        layout.figures / f"{name}.{end}" for name in figures for end in ("png", "pdf", "json")
    ]
    sources["tables"] = [
        layout.tables / f"{name}.{end}" for name in tables for end in ("csv", "md", "tex", "json")
    ]
    missing = [path for paths in sources.values() for path in paths if not path.exists()]
    missing += [layout.measurements(n) for n in experiments if not sources[f"measurements/{n}"]]
    if missing:
        first = missing[0]
        raise UserError(f"{first}: not there; run `make reproduce` to its end first")
    for path in (path for paths in sources.values() for path in paths):
        check(path, "infwidth reproduce")
    with replacing_folder(PUBLISHED, frozenset({*_OWNED, LONG})) as folder:
        for kind, paths in sources.items():
            (folder / kind).mkdir(parents=True, exist_ok=True)
            for path in paths:
                shutil.copy(path, folder / kind / path.name)
        write_json(folder / FILE, judged.as_json())
        with trained_again(layout.results.glob("*/*/*.json")):
            export_runs(layout.runs, folder / RUNS)
        _finish(folder, PUBLISHED, experiments)
        if (PUBLISHED / LONG).is_dir():
            shutil.copytree(PUBLISHED / LONG, folder / LONG)


def _publish_complete(settings: Settings, layout: Layout) -> None:
    """Draws all anew, so that no figure is of other measurements than those beside it."""
    from infwidth.artifact.published import Published
    from infwidth.artifact.redraw import NAMES, redraw
    from infwidth.experiments.run_rows import trained_again
    from infwidth.experiments.tables import SETTINGS, SETTINGS_KEYS
    from infwidth.reading import read_json
    from infwidth.training.archive import export_runs, import_runs

    before = Published(PUBLISHED / LONG)
    measured = {name: layout.measurements(name) for name in settings.experiments}
    new = {name: path for name, path in measured.items() if (path / SETTINGS).is_file()}
    if not new:
        first = next(iter(measured))
        raise UserError(
            f"{measured[first]}: not there, and nothing else of '{LONG}' is complete; run "
            f"`snakemake --cores 2 {first} --configfile config/long.yaml` to its end first"
        )
    kept = {
        name: before.measurements(name)
        for name in before.experiments
        if name not in (*new, "claims")
    }
    with replacing_folder(before.folder, frozenset(_OWNED)) as folder:
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
