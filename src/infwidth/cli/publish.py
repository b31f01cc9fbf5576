"""`infwidth publish`: copies a complete run's measurements, figures, tables and claims.

The copy is there to be committed.
"""

import argparse
import os
import shutil
from pathlib import Path

from infwidth.atomic import write_atomically, write_json
from infwidth.catalogue import FIGURES, TABLES
from infwidth.cli.options import settings_options
from infwidth.config.errors import UserError
from infwidth.config.load import CLAIMS
from infwidth.config.settings import Settings
from infwidth.data.files import MANIFEST, describe_files, replacing_folder
from infwidth.layout import Layout

# Not a path that a rule declares: a committed output would look to Snakemake as if it were done.
FOLDER = Path("results/published")


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "publish", help=f"copy measurements, figures, tables and claims to {FOLDER}"
    )
    settings_options(parser, "publish")
    parser.set_defaults(run=_publish)


def _publish(_: argparse.Namespace, __: Settings, layout: Layout) -> None:
    from infwidth.analysis.claims import FILE, load
    from infwidth.analysis.claims_page import PAGE, Links, page

    judged = load(layout.results)
    asked = [each.claim.experiment for each in judged.claims if each.measurements]
    experiments = dict.fromkeys([*FIGURES.values(), *TABLES.values(), *asked])
    del experiments["claims"]
    sources = {
        f"measurements/{name}": sorted(layout.measurements(name).glob("*")) for name in experiments
    }
    sources["."] = [layout.results / FILE]
    sources["figures"] = [
        layout.figures / f"{name}.{end}" for name in FIGURES for end in ("png", "pdf", "json")
    ]
    sources["tables"] = [
        layout.tables / f"{name}.{end}" for name in TABLES for end in ("csv", "md", "tex", "json")
    ]
    missing = [path for paths in sources.values() for path in paths if not path.exists()]
    missing += [layout.measurements(n) for n in experiments if not sources[f"measurements/{n}"]]
    if missing:
        first = missing[0]
        raise UserError(f"{first}: not there; run `make reproduce` to its end first")
    with replacing_folder(
        FOLDER, frozenset({"measurements", "figures", "tables", FILE, PAGE, MANIFEST})
    ) as folder:
        for kind, paths in sources.items():
            (folder / kind).mkdir(parents=True, exist_ok=True)
            for path in paths:
                shutil.copy(path, folder / kind / path.name)
        # The copies lie elsewhere than what they were made from, so the page's links are others.
        links = Links(
            figures="figures",
            tables="tables",
            measurements={name: f"measurements/{name}" for name in experiments},
            rules=Path(os.path.relpath(CLAIMS, FOLDER)).as_posix(),
        )
        write_atomically(folder / PAGE, page(judged, links))
        files = describe_files(folder)
        write_json(folder / MANIFEST, {"sha256": {name: files[name]["sha256"] for name in files}})
