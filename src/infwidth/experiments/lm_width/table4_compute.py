# SPDX-License-Identifier: Apache-2.0
"""Table 4: parameters, optimizer state, arithmetic and time of every variant at every width."""

from typing import Any

import pandas as pd

from infwidth.config.variants import ALL_VARIANTS
from infwidth.drawing.table import Table, count, number, sentences
from infwidth.experiments.lm_width.measured import Measurements
from infwidth.experiments.lm_width.notes import corpus_note

MEANS = ("flops", "device_seconds")
EXACT = (
    *("parameters_trunk", "parameters_features", "parameters_readout", "parameters_trained"),
    *("optimizer_state_bytes", "tokens", "steps"),
)


def build(measured: Measurements) -> Table:
    """One row a (variant, width) of the reported runs; time is the mean over seeds."""
    rows: list[dict[str, Any]] = []
    for variant in measured.variants:
        for width in (0,) if variant == "constant" else measured.widths:
            runs = measured.cell(variant, width)
            runs = runs[runs["status"] == "done"] if (runs["status"] == "done").any() else runs
            if runs.empty:
                continue
            rows.append(
                {"variant": variant, "width": width, "seeds": len(runs)}
                | {name: int(runs[name].max()) for name in EXACT}
                | {f"{name}_mean": float(runs[name].mean()) for name in MEANS}
                | {"device": ", ".join(sorted(set(runs["device"])))}
            )
    raw = pd.DataFrame(rows)
    shown = pd.DataFrame(
        [
            {
                "Variant": ALL_VARIANTS[row["variant"]].label,
                "H": "any" if row["variant"] == "constant" else f"{row['width']:,}",
                "parameters": count(
                    sum(row[f"parameters_{part}"] for part in ("trunk", "features", "readout"))
                ),
                "of these in MLPs": count(row["parameters_features"] + row["parameters_readout"]),
                "trained": count(row["parameters_trained"]),
                "optimizer state, MiB": number(row["optimizer_state_bytes"] / 2**20, 2),
                "GFLOP a run": count(row["flops_mean"] / 1e9),
                "device-seconds a run": number(row["device_seconds_mean"], 1),
            }
            for row in rows
        ]
    )
    return Table("table4_compute", _caption(measured, raw), raw, shown)


def _caption(measured: Measurements, raw: pd.DataFrame) -> str:
    # A run may serve several roles; its time was spent once.
    once = measured.runs.drop_duplicates("key")
    seconds = once.groupby("role")["device_seconds"].sum()
    spent = ", ".join(f"{role} {value:,.0f}" for role, value in seconds.items())
    return sentences(
        [
            "Size and cost of the reported runs.",
            f"A run sees {count(raw['tokens'].max())} tokens in {count(raw['steps'].max())} steps.",
            "FLOPs are counted from the formulas, not measured; device-seconds are the mean over "
            "seeds of a run's own time.",
            f"Device: {'; '.join(sorted(set(raw['device'])))}.",
            f"Device-seconds in all, by role: {spent}.",
            corpus_note(measured),
        ]
    )
