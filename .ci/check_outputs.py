# SPDX-License-Identifier: Apache-2.0
"""Checks that a configuration's figures and tables are there and are sound."""

import csv
import json
import math
import sys

import pandas as pd

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
    missing = [key for key in ("commit", "inputs", "settings") if not provenance.get(key)]
    if missing:
        problems.append(f"{name}.json: no {', '.join(missing)}")

for name in TABLES:
    with (layout.tables / f"{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    if not rows:
        problems.append(f"{name}: no rows")
    for ending in ("md", "tex"):
        if len((layout.tables / f"{name}.{ending}").read_text()) < 200:
            problems.append(f"{name}.{ending}: nothing in it")

measured = pd.read_parquet(layout.measurements("lm_width") / "runs.parquet")
for name in settings.lm_width.variants:
    if not ((measured["variant"] == name) & (measured["status"] == "done")).any():
        problems.append(f"{name}: no run ended well")
# No model may do worse than knowing nothing.
bound = math.log(json.loads((layout.tokens / "manifest.json").read_text())["vocabulary"]["size"])
losses = measured.loc[measured["status"] == "done", "validation_loss"]
problems += [f"a validation loss of {loss}" for loss in losses if not 0 < loss < bound]

sound = f"{len(FIGURES)} figures, {len(TABLES)} tables, {len(measured)} runs: sound"
print("\n".join(problems) or sound)
sys.exit(bool(problems))
