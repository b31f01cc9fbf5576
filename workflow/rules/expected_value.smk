# SPDX-License-Identifier: Apache-2.0
#
# The mean over inits of finite models against the infinite model: one job.

EXPECTED_VALUE = LAYOUT.results / "expected_value"
MEASURED["expected_value"] = [
    f"{LAYOUT.measurements('expected_value')}/{name}"
    for name in (
        "infinite.parquet",
        "fixed.parquet",
        "trained.parquet",
        "settings.json",
    )
]


rule expected_value:
    """Compares the mean over inits with the infinite model, readouts fixed and trained."""
    output:
        MEASURED["expected_value"],
    log:
        f"{LAYOUT.logs}/expected_value.log",
    conda:
        CONDA
    threads: 1
    resources:
        gpu=1 if GPUS else 0,
    params:
        settings=slice_of("expected_value"),
        code=code_digest(
            ["infwidth.experiments.expected_value.measure", "infwidth.data.digits"]
        ),
    shell:
        "infwidth expected_value --settings {params.settings:q}"
        f" --parts {EXPECTED_VALUE}/parts --out {LAYOUT.measurements('expected_value')} 2> {{log}}"
