# SPDX-License-Identifier: Apache-2.0
"""Removes all results and what was packed, unless a workflow runs here: `make clean`."""

import fcntl
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "results/.reproduce.lock"
KEPT = {"README.md", "published", LOCK.name}


def main() -> None:
    """Holds the lock of `make reproduce` meanwhile, so that none begins."""
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("infwidth: a workflow runs in this folder: wait for it, or end it first")
        if any(ROOT.glob(".snakemake/locks/*")):
            sys.exit(
                "infwidth: Snakemake runs in this folder, or was killed; if none runs, remove "
                ".snakemake/locks and do this again"
            )
        made = [*ROOT.glob("results/*"), *ROOT.glob("paper_figures/*")]
        for path in [ROOT / ".snakemake", ROOT / "site", ROOT / "dist", *made]:
            if path.name not in KEPT:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"infwidth: {error.filename}: {error.strerror}; mend that and run it again")
