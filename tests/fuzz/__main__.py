# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.fuzz`: damages every kind of stored file, and prints what came of it."""

import argparse
import sys
import tempfile
from pathlib import Path

from infwidth.pins import pin_numerics

pin_numerics()

from tests.fuzz.harness import CUTS, DELETIONS, FLIPS, fuzz, prepare, sound, table  # noqa: E402

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--finished", type=Path, help="checkout with the finished smoke configuration")
parser.add_argument("--project", type=Path, help="folder to make, or one made before")
parser.add_argument("--flips", type=int, default=FLIPS)
parser.add_argument("--cuts", type=int, default=CUTS)
parser.add_argument("--deletions", type=int, default=DELETIONS)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("kinds", nargs="*")
args = parser.parse_args()
project = args.project or Path(tempfile.mkdtemp()) / "project"
if not project.exists():
    finished = args.finished
    if finished is None:
        from tests.workflow.conftest import copy_project

        finished = project.with_name("finished")
        copy_project(finished).snakemake()
    prepare(finished, project)
results = []
trials = (args.flips, args.cuts, args.deletions)
for each in fuzz(project.resolve(), args.kinds, trials, args.seed):
    results.append(each)
    name, damage, outcome, words = each
    if not sound(outcome):
        print(f"{outcome}: {name}: {damage}: {words.strip()}", flush=True)
print(table(results))
sys.exit(not all(sound(outcome) for *_, outcome, _ in results))
