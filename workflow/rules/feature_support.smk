# SPDX-License-Identifier: Apache-2.0
#
# Features whose law is not totally supported: one job.

FEATURE_SUPPORT = LAYOUT.results / "feature_support"
MEASURED["feature_support"] = [
    f"{LAYOUT.measurements('feature_support')}/{name}"
    for name in (
        "residuals.parquet",
        "errors.parquet",
        "functions.parquet",
        "reports.parquet",
        "settings.json",
    )
]


rule feature_support:
    """Compares what stays of the error with the population residual, and asks for reports."""
    output:
        MEASURED["feature_support"],
    log:
        f"{LAYOUT.logs}/feature_support.log",
    conda:
        CONDA
    threads: 1
    resources:
        gpu=1 if GPUS else 0,
    params:
        settings=slice_of("feature_support"),
        code=code_digest(["infwidth.experiments.feature_support.measure"]),
    shell:
        "infwidth feature_support --settings {params.settings:q}"
        f" --parts {FEATURE_SUPPORT}/parts --out {LAYOUT.measurements('feature_support')} 2> {{log}}"
