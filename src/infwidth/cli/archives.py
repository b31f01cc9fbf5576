# SPDX-License-Identifier: Apache-2.0
"""`infwidth bundle|runs`: the commit in one archive, to cite; finished runs, to go on from."""

import argparse
from pathlib import Path

from infwidth import __version__
from infwidth.cli.parser import settings_options
from infwidth.config.settings import Settings
from infwidth.layout import PUBLISHED, RUNS, Layout

_ABOUT_BUNDLE = """\
Packs all that is committed (code, locks, published measurements, figures and tables, documents)
into dist/infwidth-<version>.tar.gz, the same bytes each time: sorted names, the commit's time,
fixed owners and modes. In it COMMIT names the commit, and SHA256SUMS the sha256 of every other file
(`sha256sum --check SHA256SUMS`). Unpacked anywhere, `make figures` redraws everything in it, and
needs no network once its environment is installed.
"""
_ABOUT_RUNS = f"""\
An archive holds what finished runs are and what they measured, and no checkpoints. Where it was
imported, the workflow finds these runs by their keys and trains only what is not among them, such
as one more seed or variant. The published runs are in {PUBLISHED / RUNS}.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the commands."""
    parser = commands.add_parser(
        "bundle",
        help="pack the commit into one archive, the same bytes each time",
        description=_ABOUT_BUNDLE,
    )
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder to write to")
    parser.add_argument(
        "--dirty", action="store_true", help="pack edited files as they are, and mark the commit"
    )
    parser.set_defaults(run=_bundle, command="publish")

    parser = commands.add_parser(
        "runs", help="export finished runs to one file, or import them", description=_ABOUT_RUNS
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    for name, run, text in (
        ("export", _export, "pack every finished run into an archive, a .tar.xz"),
        ("import", _import, "unpack the runs of an archive that are not here yet"),
    ):
        action = actions.add_parser(name, help=text, description=_ABOUT_RUNS)
        action.add_argument("archive", type=Path, metavar="FILE", help="the archive")
        action.add_argument("--runs", type=Path, help="folder of the runs")
        settings_options(action, "runs", run)


def _bundle(args: argparse.Namespace, _: Settings, __: Layout) -> None:
    from infwidth.artifact.bundle import pack, read_tree

    tree = read_tree(Path(), args.dirty)
    name = f"infwidth-{__version__}"
    archive = args.out / f"{name}.tar.gz"
    digest = pack(Path(), tree, name, archive)
    print(f"{archive}: {len(tree.modes)} files of commit {tree.commit}")
    print(f"{archive.stat().st_size / 1e6:.1f} MB, sha256 {digest}")


def _export(args: argparse.Namespace, _: Settings, layout: Layout) -> None:
    from infwidth.experiments.run_rows import trained_again
    from infwidth.training.archive import export_runs

    with trained_again(layout.results.glob("*/*/*.json")):
        count = export_runs(args.runs or layout.runs, args.archive)
    print(f"{args.archive}: {count} runs, {args.archive.stat().st_size / 1e6:.1f} MB")


def _import(args: argparse.Namespace, _: Settings, layout: Layout) -> None:
    from infwidth.training.archive import import_runs

    folder = args.runs or layout.runs
    new, known, busy = import_runs(args.archive, folder)
    training = f", {busy} in training here" if busy else ""
    print(f"{folder}: {new} runs imported, {known} there already{training}")
