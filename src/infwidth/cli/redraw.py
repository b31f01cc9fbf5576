# SPDX-License-Identifier: Apache-2.0
"""`infwidth redraw`: every figure, table and claim from the published measurements."""

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from infwidth.catalogue import FIGURES, TABLES
from infwidth.cli.parser import one_of
from infwidth.config.errors import UserError
from infwidth.config.load import CLAIMS
from infwidth.config.settings import Settings
from infwidth.layout import PUBLISHED, REDRAWN, Layout

_ABOUT = """\
Draws figures, tables and claims from the published measurements, without training and without JAX
(`make figures`). The measurements are first checked against their sha256 in the manifest. Then each
file that was drawn is compared with the published one: the same bytes, as on the machine that
published them; or equal to rounding, as on another (words and whole numbers equal, others within
1e-9, or one unit of the last decimal where they are rounded for a reader; pixels within 2 levels
of 255; a PDF with other bytes goes by its PNG). Ends with status 1 if anything differs by more.
What the long configuration published is drawn, too, into a folder of its own.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "redraw",
        help="redraw every figure, table and claim from the published measurements",
        description=_ABOUT,
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


def _redraw(args: argparse.Namespace, settings: Settings, _: Layout) -> int:
    from infwidth.artifact.published import Published
    from infwidth.artifact.redraw import NAMES, redraw
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
