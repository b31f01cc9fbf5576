# SPDX-License-Identifier: Apache-2.0
#
# Bytes of the kernel form against the dense form: one job, the same on every run.

MEASURED["memory"] = [
    f"{LAYOUT.measurements('memory')}/{name}"
    for name in ("state.parquet", "step.parquet", "resident.parquet", "settings.json")
]


rule memory:
    """Counts what both forms keep, and what a training step of each takes."""
    output:
        MEASURED["memory"],
    log:
        f"{LAYOUT.logs}/memory.log",
    conda:
        CONDA
    threads: 1
    resources:
        gpu=1 if GPUS else 0,
    params:
        settings=slice_of("memory"),
        code=variants_digest(
            ["infwidth.experiments.memory.measure"],
            [VARIANTS["frozen"], VARIANTS["adam_star"]],
        ),
    shell:
        "infwidth memory --settings {params.settings:q}"
        f" --out {LAYOUT.measurements('memory')} 2> {{log}}"
