# SPDX-License-Identifier: Apache-2.0
"""`infwidth bundle`: one archive of the commit, to keep and to cite."""

import argparse
from pathlib import Path

from infwidth import __version__
from infwidth.config.settings import Settings
from infwidth.layout import Layout

_ABOUT = """\
Packs all that is committed (code, locks, published measurements, figures and tables, documents)
into dist/infwidth-<version>.tar.gz, the same bytes each time: sorted names, the commit's time,
fixed owners and modes. In it COMMIT names the commit, and SHA256SUMS the sha256 of every other file
(`sha256sum --check SHA256SUMS`). Unpacked anywhere, `make figures` redraws everything in it, and
needs no network once its environment is installed.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "bundle",
        help="pack the commit into one archive, the same bytes each time",
        description=_ABOUT,
    )
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder to write to")
    parser.add_argument(
        "--dirty", action="store_true", help="pack edited files as they are, and mark the commit"
    )
    parser.set_defaults(run=_bundle, command="publish")


def _bundle(args: argparse.Namespace, _: Settings, __: Layout) -> None:
    from infwidth.artifact.bundle import pack, read_tree

    tree = read_tree(Path(), args.dirty)
    name = f"infwidth-{__version__}"
    archive = args.out / f"{name}.tar.gz"
    digest = pack(Path(), tree, name, archive)
    print(f"{archive}: {len(tree.modes)} files of commit {tree.commit}")
    print(f"{archive.stat().st_size / 1e6:.1f} MB, sha256 {digest}")
