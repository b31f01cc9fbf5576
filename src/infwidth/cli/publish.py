# SPDX-License-Identifier: Apache-2.0
"""`infwidth publish|redraw`: what is complete, to be committed; all of it drawn from there."""

import argparse
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from infwidth.atomic import write_atomically
from infwidth.catalogue import FIGURES, TABLES, schemas
from infwidth.cli.parser import one_of, settings_options
from infwidth.config.errors import UserError
from infwidth.config.load import CLAIMS
from infwidth.config.settings import Settings
from infwidth.data.files import MANIFEST, describe_files, replacing_folder
from infwidth.layout import LONG, PUBLISHED, REDRAWN, RUNS, Layout
from infwidth.stored import ASIDE, check, read_record, write_json

_ABOUT_PUBLISH = f"""\
Takes what is complete of the default configuration to {PUBLISHED}, and of the long one
(--configfile config/long.yaml) to {PUBLISHED / LONG}: draws figures and tables of its experiments,
judges their claims, packs the records of their runs, and writes a manifest of sha256, whole or not
at all. Experiments that are not complete are named; what was published of them before stays as it
was measured. `make publish` first brings all of the default up to date.
"""
_ABOUT_REDRAW = """\
Draws figures, tables and claims from the published measurements, without training and without JAX
(`make figures`). The measurements are first checked against their sha256 in the manifest. Then each
file that was drawn is compared with the published one: the same bytes, as on the machine that
published them; or equal to rounding, as on another (words and whole numbers equal, others within
1e-9, or one unit of the last decimal where they are rounded for a reader; pixels within 2 levels
of 255; a PDF with other bytes goes by its PNG). Ends with status 1 if anything differs by more.
What the long configuration published is drawn, too, into a folder of its own.
"""
_OWNED = ("measurements", "figures", "tables", "claims.json", "claims.md", RUNS, MANIFEST)


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the commands."""
    parser = commands.add_parser(
        "publish",
        help=f"copy measurements, figures, tables, claims and records of runs to {PUBLISHED}",
        description=_ABOUT_PUBLISH,
    )
    settings_options(parser, "publish", _publish)

    parser = commands.add_parser(
        "redraw",
        help="redraw every figure, table and claim from the published measurements",
        description=_ABOUT_REDRAW,
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="such as fig1_loss_vs_width or claims; else all"
    )
    parser.add_argument("--published", type=Path, default=PUBLISHED, help="what to draw")
    parser.add_argument("--out", type=Path, default=REDRAWN, help="folder to write to")
    parser.add_argument(
        "--unverified", action="store_true", help="draw measurements that the manifest disowns, too"
    )
    parser.set_defaults(run=_redraw, command="claims")


def _publish(_args: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    """Draws all anew, so that no figure is of other measurements than those beside it."""
    from infwidth.artifact.published import NAMES, Published, redraw
    from infwidth.experiments.run_rows import trained_again
    from infwidth.experiments.tables import SETTINGS, SETTINGS_KEYS
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
            commit = read_record(before.measurements(name) / SETTINGS, SETTINGS_KEYS)["commit"]
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


def _redraw(args: argparse.Namespace, settings: Settings, _: Layout) -> int:
    from infwidth.artifact.published import NAMES, Published, redraw
    from infwidth.stats.sameness import Sameness

    names = [one_of(NAMES, "figure or table")(name) for name in args.names]
    if args.out.resolve().is_relative_to(args.published.resolve()):
        raise UserError(f"--out {args.out} is what is published, or in it: name another folder")
    tiers = Published(args.published).tiers
    for published in tiers if not args.unverified else ():
        count = published.verify()
        print(f"{published.folder}: {count} files have the sha256 of the manifest")
    there = {"claims", *(name for each in tiers for name in each.made(FIGURES | TABLES))}
    for name in names:
        if name not in there:
            raise UserError(f"{name}: what it is made from is not published in {args.published}")
    width = max(map(len, NAMES))
    words: Counter[str] = Counter()
    for published in tiers:
        own = published.folder.relative_to(args.published)
        named = settings.model_copy(update={"name": published.configuration})
        for each in redraw(names or NAMES, published, args.out / own, named, CLAIMS):
            words[each.sameness] += 1
            shown = (own / each.name).as_posix()
            details = _details(each.files, each.note)
            print(f"{shown:{width}}  {each.sameness}{details}", flush=True)
    print(f"\n{args.out}: {', '.join(f'{words[word]} {word}' for word in Sameness if words[word])}")
    return int(words[Sameness.OTHER] > 0)


def _details(files: Mapping[str, str], note: str) -> str:
    """The files that are not the same, and a note; nothing where all are."""
    off = [f"{name} {word}" for name, word in files.items() if word != "same bytes"]
    return f" ({'; '.join([*off, *filter(None, [note])])})" if off else ""
