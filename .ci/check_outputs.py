"""Checks that a configuration's figures and tables are there and are sound."""

import csv
import json
import math
import sys

from infwidth.catalogue import FIGURES, TABLES
from infwidth.config.load import read_config, validate
from infwidth.layout import Layout

settings = validate(read_config(sys.argv[1:]))
layout = Layout(settings.name)
problems = []

for name in FIGURES:
    pdf, png = (layout.figures / f"{name}.{ending}" for ending in ("pdf", "png"))
    if not pdf.read_bytes().startswith(b"%PDF") or pdf.stat().st_size < 5_000:
        problems.append(f"{pdf}: not a figure")
    if not png.read_bytes().startswith(b"\x89PNG") or png.stat().st_size < 10_000:
        problems.append(f"{png}: not a figure")
    provenance = json.loads((layout.figures / f"{name}.json").read_text())
    if not provenance:
        problems.append(f"{name}.json: no provenance")

for name in TABLES:
    with (layout.tables / f"{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    if not rows:
        problems.append(f"{name}: no rows")
    for ending in ("md", "tex"):
        if len((layout.tables / f"{name}.{ending}").read_text()) < 200:
            problems.append(f"{name}.{ending}: nothing in it")

results = [json.loads(path.read_text()) for path in layout.runs.glob("*/result.json")]
if not results:
    problems.append("no run has a result")
# No model may do worse than knowing nothing.
bound = math.log(settings.data.vocabulary_size)
for result in results:
    if result["status"] == "done" and not 0 < result["validation_loss"] < bound:
        problems.append(f"{result['key']}: a validation loss of {result['validation_loss']}")

sound = f"{len(FIGURES)} figures, {len(TABLES)} tables, {len(results)} runs: sound"
print("\n".join(problems) or sound)
sys.exit(bool(problems))
