# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.fuzz`: damages every kind of stored file, and prints what came of it."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from infwidth.pins import pin_numerics

pin_numerics()

from tests.fuzz.harness import CUTS, DELETIONS, FLIPS, RERUNS, fuzz, prepare, rerun, sound, table  # noqa: E402
from tests.workflow.conftest import Checkout, copy_project  # noqa: E402

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--finished", type=Path, help="checkout with the finished smoke configuration")
parser.add_argument("--project", type=Path, help="folder to make, or one made before")
parser.add_argument("--flips", type=int, default=FLIPS)
parser.add_argument("--cuts", type=int, default=CUTS)
parser.add_argument("--deletions", type=int, default=DELETIONS)
parser.add_argument("--one", action="store_true", help="one damage of each kind, by turns")
parser.add_argument("--reruns", action="store_true", help="try that a plain rerun mends it, too")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("kinds", nargs="*")
args = parser.parse_args()
project = args.project or Path(tempfile.mkdtemp()) / "project"
if not project.exists():
    if args.finished is None:
        args.finished = project.with_name("finished")
        copy_project(args.finished).snakemake()
    prepare(args.finished, project)
results = []
trials = None if args.one else (args.flips, args.cuts, args.deletions)
for each in fuzz(project.resolve(), args.kinds, trials, args.seed):
    results.append(each)
    name, damage, outcome, words = each
    if not sound(outcome):
        print(f"{outcome}: {name}: {damage}: {words.strip()}", flush=True)
if args.reruns:
    for damaged, deleted in RERUNS.items():
        copy = Path(shutil.copytree(args.finished, Path(tempfile.mkdtemp()) / "again"))
        outcome, words = rerun(Checkout(copy), damaged, deleted, args.seed)
        print(f"{outcome}: rerun: {damaged}: {words}", flush=True)
        results.append(("reruns of the workflow", damaged, outcome, words))
        shutil.rmtree(copy)
print(table(results))
sys.exit(not all(sound(outcome) for *_, outcome, _ in results))
