# SPDX-License-Identifier: Apache-2.0
"""The page docs/costs.md: plans of the shipped configurations, and recorded times beside them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from infwidth.artifact.planning.chips import CHIPS, DEFAULT_UTILISATION
from infwidth.artifact.planning.plan import make_plan
from infwidth.artifact.planning.text import render
from infwidth.config.load import read_config, validate
from infwidth.layout import PUBLISHED, Layout

PAGE = Path("docs/costs.md")
_CONFIGURATIONS = {Path("config/config.yaml"): "cpu", Path("config/paper.yaml"): "gpu"}
_RECORDED = ("lm_width", "width_limit", "optimizer_ablation", "infinite_lm")
# A folder without results: the page shows what a first run costs.
_NOWHERE = "page-of-costs"

_HEAD = """# Costs

What a configuration costs, before anything runs:

    infwidth plan --configfile config/paper.yaml

It imports no JAX, compiles nothing, and takes seconds. `--runs` lists the runs by variant and
width, `--json` prints all of it for a program, `--utilisation 0.3` sets the share of a chip's peak
that is reached. Where results are there, it says what is done, what would be taken up at a
checkpoint, and which results no longer count and why (a changed setting, code, a library's
version). This page is written by `infwidth plan --page`; a test keeps it in step.

## How it counts

- **FLOPs** are those of the matrix products that a variant needs (`src/infwidth/models/flops.py`):
  a run's steps, and the scoring of its held-out splits. XLA's own analysis of the compiled step
  counts 5% more at D 128, T 32, H 256: elementwise work (2%), and the acausal half of attention
  (3%), which the CPU's attention computes and masks. The longer the context against D, the larger
  that half: about T / (4 D + 2 T) of the work outside MLPs and head.
- **Runs** that several experiments ask for are counted once, where they are tuned on the same grid
  at the same width. Runs that a tuning adds beyond its grid are not counted; the table has a bound
  on them, which is loose.
- **Memory** is that of a step on each device, as precision, attention, microbatches, blocks of the
  loss, rematerialization and the mesh are configured. What is kept for the backward pass is what
  JAX's derivative keeps, which tests compare; for seven compiled float32 steps on a CPU XLA
  reported the same within 6%. No accelerator's report was compared. `auto` attention is taken to
  be cuDNN's on every GPU in bfloat16.
- **Device-hours** are FLOPs over peak and utilisation. A utilisation of 0.4 is an assumption, good
  for large products; the default's models are far too small for an accelerator to come near it.
- **Rematerialization**, where it is set, adds what blocks compute again, all but their last
  product; XLA's analysis counts the same within 3%.
- **Other experiments** have small models of their own and are not counted; those of the default
  take some 20 core-minutes.
"""


def costs_page() -> str:
    """Writes the page, from the project's root."""
    parts = [_HEAD]
    for file, platform in _CONFIGURATIONS.items():
        settings = validate(read_config([str(file)]))
        plan = make_plan(settings, Layout(_NOWHERE), platform, DEFAULT_UTILISATION)
        command = f"infwidth plan --configfile {file} --platform {platform}"
        parts.append(f"## `{command}`\n\n```text\n{render(plan)}```\n")
    parts.append(_check(_recorded()))
    sources = "\n".join(f"- {chip.name}: {chip.source}." for chip in CHIPS)
    parts.append(
        "## Where the peaks are from\n\nDense products, sums in float32. TPUs have no float32 "
        f"peak in their makers' tables.\n\n{sources}\n"
    )
    return "\n".join(parts)


def _recorded() -> Iterable[tuple[str, float, float]]:
    import pandas as pd

    for name in _RECORDED:
        # In the folder of either tier.
        [file] = PUBLISHED.glob(f"**/measurements/{name}/runs.parquet")
        runs = pd.read_parquet(file).drop_duplicates("key")
        yield name, float(runs["flops"].sum()), float(runs["device_seconds"].sum())


def _check(recorded: Iterable[tuple[str, Any, Any]]) -> str:
    core = next(chip.float32 for chip in CHIPS if chip.name == "one CPU core")
    assert core is not None
    utilisation = DEFAULT_UTILISATION
    table = "\n".join(
        _row(name, flops / (core * 1e12 * utilisation), seconds)
        for name, flops, seconds in recorded
    )
    return f"""## Against recorded time

The published runs recorded the wall time of their training steps, each on one core of a CPU, which
other work shared, most of all during optimizer_ablation. A run that two experiments share counts
in both. Planned for the same FLOPs is the time of one core of {core * 1000:.0f} GFLOP/s at
{utilisation:.0%}:

| experiment | planned, s | recorded, s | planned / recorded |
|---|---|---|---|
{table}

How busy the machine was besides was not recorded, and recorded speeds differ threefold at equal
sizes. The estimate for a CPU is good to about a factor of two.
"""


def _row(name: str, planned: float, recorded: float) -> str:
    return f"| {name} | {planned:,.0f} | {recorded:,.0f} | {planned / recorded:.2f} |"
