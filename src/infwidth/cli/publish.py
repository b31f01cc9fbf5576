# SPDX-License-Identifier: Apache-2.0
"""`infwidth publish`: copies a complete run: measurements, figures, tables, claims, run records.

The copy is there to be committed.
"""

import argparse
import os
import shutil
from pathlib import Path

from infwidth.atomic import write_atomically
from infwidth.catalogue import FIGURES, TABLES, covered
from infwidth.cli.options import settings_options
from infwidth.config.errors import UserError
from infwidth.config.load import CLAIMS
from infwidth.config.settings import Settings
from infwidth.data.files import MANIFEST, describe_files, replacing_folder
from infwidth.layout import PUBLISHED, RUNS, Layout
from infwidth.stored import ASIDE, check, write_json


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    text = f"copy measurements, figures, tables, claims and records of runs to {PUBLISHED}"
    parser = commands.add_parser(
        "publish",
        help=text,
        description=f"{text.capitalize()}, with a manifest of their sha256, whole or not at all. "
        "`make publish` first brings all of them up to date.",
    )
    settings_options(parser, "publish")
    parser.set_defaults(run=_publish)


def _publish(_: argparse.Namespace, settings: Settings, layout: Layout) -> None:
    from infwidth.analysis.claims import FILE, load
    from infwidth.analysis.claims_page import PAGE, page
    from infwidth.analysis.published import Published
    from infwidth.experiments.run_rows import trained_again
    from infwidth.training.archive import export_runs

    if settings.name != "default":
        raise UserError(
            f"the configuration '{settings.name}': what is published is the default configuration's"
        )
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
    with replacing_folder(
        PUBLISHED, frozenset({"measurements", "figures", "tables", RUNS, FILE, PAGE, MANIFEST})
    ) as folder:
        for kind, paths in sources.items():
            (folder / kind).mkdir(parents=True, exist_ok=True)
            for path in paths:
                shutil.copy(path, folder / kind / path.name)
        write_json(folder / FILE, judged.as_json())
        with trained_again(layout.results.glob("*/*/*.json")):
            export_runs(layout.runs, folder / RUNS)
        # The copies lie elsewhere than what they were made from, so the page's links are others.
        rules = Path(os.path.relpath(CLAIMS, PUBLISHED)).as_posix()
        links = Published(PUBLISHED).links(experiments, rules)
        write_atomically(folder / PAGE, page(judged, links))
        files = describe_files(folder)
        write_json(folder / MANIFEST, {"sha256": {name: files[name]["sha256"] for name in files}})
