# SPDX-License-Identifier: Apache-2.0
#
# Frozen features, weighted up and down, against features that train: one job.

FEATURE_SELECTION = LAYOUT.results / "feature_selection"
MEASURED["feature_selection"] = [
    f"{LAYOUT.measurements('feature_selection')}/{name}"
    for name in (
        "density_ratio.parquet",
        "least_squares.parquet",
        "planted.parquet",
        "infinite.parquet",
        "pruning.parquet",
        "selection.parquet",
        "tuning.parquet",
        "settings.json",
    )
]


rule feature_selection:
    """Makes trained features again from frozen ones; finds planted ones; prunes by readout."""
    output:
        MEASURED["feature_selection"],
    log:
        f"{LAYOUT.logs}/feature_selection.log",
    conda:
        CONDA
    threads: 1
    resources:
        gpu=1 if GPUS else 0,
    params:
        settings=slice_of("feature_selection"),
        code=code_digest(
            ["infwidth.experiments.feature_selection.measure", "infwidth.data.digits"]
        ),
    shell:
        "infwidth feature_selection --settings {params.settings:q}"
        f" --parts {FEATURE_SELECTION}/parts --out {LAYOUT.measurements('feature_selection')} 2> {{log}}"
