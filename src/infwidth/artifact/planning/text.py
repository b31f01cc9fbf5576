# SPDX-License-Identifier: Apache-2.0
"""A plan as text, of at most 100 columns, and docs/costs.md with the plans of shipped settings."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from infwidth.artifact.planning.chips import CHIPS, DEFAULT_UTILISATION
from infwidth.artifact.planning.plan import make_plan
from infwidth.config.load import read_config, validate
from infwidth.layout import PUBLISHED, Layout

_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_OTHERS = (
    ("convergence, expected_value, feature_selection,", "small models of their own:"),
    ("feature_support, infinite_rules, architectures,", "minutes each on a CPU,"),
    ("memory", "not counted here"),
)


def render(plan: dict[str, Any], every_group: bool = False) -> str:
    """Writes a plan for a reader; on demand with its runs by variant, role and width."""
    parts = [_runs(plan), _cached(plan)]
    if every_group:
        parts.append(_groups(plan))
    parts += [_memory(plan), _disk(plan), _devices(plan)]
    return "\n\n".join(parts) + "\n"


def _runs(plan: dict[str, Any]) -> str:
    rows = []
    for row in plan["experiments"]:
        roles, states = row["roles"], row["states"]
        rows.append(
            [
                row["experiment"],
                _count(roles.get("trunk", 0)),
                _count(roles.get("tuning", 0) + roles.get("check", 0)),
                _count(roles.get("one_rate", 0)),
                _count(roles.get("report", 0)),
                f"{row['most_extra_runs']:,}",
                _count(states.get("done", 0)),
                quantity(row["tokens"]),
                quantity(row["flops"]),
                quantity(row["flops_left"]),
            ]
        )
    total = sum(row["runs"] for row in plan["experiments"])
    roles = ("trunk", "tuning", "one rate", "report")
    names = ("experiment", *roles, "at most +", "done", "tokens", "FLOPs", "left")
    table = _table(names, rows)
    others = "\n".join(f"  {some:50}{why}" for some, why in _OTHERS)
    return (
        f"Runs of language models: {total:,}; each is counted once, under the first experiment "
        f"that\nasks for it. A tuning may add some, where its grid ends too soon.\n\n{table}\n"
        f"\n{others}"
    )


def _cached(plan: dict[str, Any]) -> str:
    states, again = plan["cache"]["states"], plan["cache"]["again_because_of"]
    words = {
        "done": "done",
        "begun": "begun, go on from a checkpoint",
        "again": "to run again",
        "new": "to run",
        "waits": "to run at a rate that tuning has still to choose",
    }
    lines = [f"  {states[state]:6,}  {said}" for state, said in words.items() if states.get(state)]
    if again:
        lines.append("Runs that are there and no longer count, by what changed:")
        lines += [f"  {count:6,}  {reason}" for reason, count in again.items()]
    if not plan["tokens_are_there"]:
        lines.append("The text is not tokenized yet: no run can be done before it is.")
    platform = f"Done already, on {plan['platform']}:"
    return "\n".join([platform, *lines])


def _groups(plan: dict[str, Any]) -> str:
    names = ("variant", "role", "H", "runs", "done", "param.", "tokens", "work a run")
    parts = []
    for experiment in dict.fromkeys(row["experiment"] for row in plan["groups"]):
        rows = [
            [
                row["group"],
                row["role"],
                "∞" if row["width"] is None else _count(row["width"]),
                f"{row['runs']:,}",
                _count(row["states"].get("done", 0)),
                "" if row["parameters"] is None else quantity(row["parameters"]),
                quantity(row["tokens_a_run"]),
                quantity(row["flops_a_run"]) + "FLOP",
            ]
            for row in plan["groups"]
            if row["experiment"] == experiment
        ]
        parts.append(f"{experiment}, a line for runs that differ in rates and seeds alone:\n")
        parts.append(_table(names, rows, texts=2) + "\n")
    return "\n".join(parts).rstrip()


def _memory(plan: dict[str, Any]) -> str:
    columns = ("state", "gradients", "activations", "logits")
    rows = [
        [
            f"{row['width']:,}",
            quantity(row["parameters"]),
            *(quantity(row[name]) + "B" for name in columns),
            quantity(row["total"]) + "B",
        ]
        for row in plan["models"]
    ]
    names = ("H", "param.", *columns[:-1], "logits", "all")
    table, step = _table(names, rows, texts=0), plan["step"]
    devices = "" if step["devices"] == 1 else f" on each of {step['devices']} devices"
    again = "; blocks computed again in the backward pass" if step["rematerialize"] else ""
    text = (
        f"Memory of a step{devices}, estimated, of the variant that takes most ("
        f"{plan['models'][-1]['variant']}).\nAs configured: {step['compute_dtype']}, attention "
        f"{step['attention']}, {step['tokens_at_once']:,} tokens at once, logits of "
        f"{step['tokens_with_logits']:,}{again}.\n\n{table}"
    )
    if plan["infinite"]:
        seen, support = plan["infinite"]["inputs_seen"], plan["infinite"]["support"]
        text += (
            f"\n\nAn infinitely wide model keeps {seen:,} inputs a layer: {quantity(support)}B, "
            "and half as much again\nwhile its buffers double."
        )
    return text


def _disk(plan: dict[str, Any]) -> str:
    disk = plan["disk"]
    tokens = "" if plan["tokens_are_there"] else ", if the longest run reads none twice"
    rows = (
        (disk["tokens"], f"tokens{tokens}"),
        (disk["checkpoints"], "checkpoints, two a run that is done"),
        (disk["records"], "metrics and results"),
    )
    lines = [f"  {quantity(number) + 'B':>8}  {words}" for number, words in rows]
    return "\n".join(["Disk, when all is done:", *lines])


def _devices(plan: dict[str, Any]) -> str:
    rows = []
    for row in plan["devices"]:
        peaks, hours = row["peak_tflops"], row["hours"]
        fit = row["sequences_of_the_widest"]
        rows.append(
            [
                row["chip"],
                *("" if peak is None else f"{peak:g}" for peak in peaks.values()),
                *("" if hour is None else _hours(hour) for hour in hours.values()),
                "" if row["memory"] is None else quantity(row["memory"]) + "B",
                "" if fit is None else f"{fit:,}",
            ]
        )
    kinds = ("bf16", "tf32", "fp32")
    table = _table(("", *kinds, *(f"h, {kind}" for kind in kinds), "memory", "sequences"), rows)
    return (
        f"Device-hours for the {quantity(plan['flops_left'])}FLOP that are left, at "
        f"{plan['utilisation']:.0%} of the peak (TFLOP/s, dense); and how\nmany sequences of the "
        f"widest model fit on one at once, as configured:\n\n{table}"
    )


def quantity(number: float) -> str:
    """Three digits and a prefix, as in "1.49 G"."""
    for size, prefix in _PREFIXES:
        if number >= 0.9995 * size:
            scaled = number / size
            places = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
            return f"{scaled:.{places}f} {prefix}"
    return f"{number:g} "


def _hours(hours: float) -> str:
    if hours >= 99.5:
        return f"{hours:,.0f}"
    return f"{hours:.2g}" if hours < 9.95 else f"{hours:.1f}"


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _table(names: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """Columns side by side, the first `texts` of them flush left, the others flush right."""
    lines = [list(names), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    return "\n".join(
        "  "
        + "  ".join(
            cell.ljust(width) if i < texts else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


PAGE = Path("docs/costs.md")
_CONFIGURATIONS = {"config/config.yaml": "cpu", "config/paper.yaml": "gpu"}
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
        settings = validate(read_config([file]))
        plan = make_plan(settings, Layout(_NOWHERE), platform, DEFAULT_UTILISATION)
        command = f"infwidth plan --configfile {file} --platform {platform}"
        parts.append(f"## `{command}`\n\n```text\n{render(plan)}```\n")
    parts.append(_against_recorded())
    sources = "\n".join(f"- {chip.name}: {chip.source}." for chip in CHIPS)
    parts.append(
        "## Where the peaks are from\n\nDense products, sums in float32. TPUs have no float32 "
        f"peak in their makers' tables.\n\n{sources}\n"
    )
    return "\n".join(parts)


def _against_recorded() -> str:
    import pandas as pd

    core = next(chip.float32 for chip in CHIPS if chip.name == "one CPU core")
    assert core is not None
    rows = []
    for name in _RECORDED:
        # In the folder of either tier.
        [file] = PUBLISHED.glob(f"**/measurements/{name}/runs.parquet")
        runs = pd.read_parquet(file).drop_duplicates("key")
        planned = float(runs["flops"].sum()) / (core * 1e12 * DEFAULT_UTILISATION)
        seconds = float(runs["device_seconds"].sum())
        rows.append(f"| {name} | {planned:,.0f} | {seconds:,.0f} | {planned / seconds:.2f} |")
    table = "\n".join(rows)
    return f"""## Against recorded time

The published runs recorded the wall time of their training steps, each on one core of a CPU, which
other work shared, most of all during optimizer_ablation. A run that two experiments share counts
in both. Planned for the same FLOPs is the time of one core of {core * 1000:.0f} GFLOP/s at
{DEFAULT_UTILISATION:.0%}:

| experiment | planned, s | recorded, s | planned / recorded |
|---|---|---|---|
{table}

How busy the machine was besides was not recorded, and recorded speeds differ threefold at equal
sizes. The estimate for a CPU is good to about a factor of two.
"""
