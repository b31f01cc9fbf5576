# SPDX-License-Identifier: Apache-2.0
#
# The variants in other architectures, on digits: a job an architecture, then the tables.

ARCHITECTURES = LAYOUT.results / "architectures"
MEASURED["architectures"] = [
    f"{LAYOUT.measurements('architectures')}/{name}"
    for name in (
        "selection.parquet",
        "runs.parquet",
        "images.parquet",
        "settings.json",
    )
]
ARCHITECTURES_CODE = variants_digest(
    ["infwidth.experiments.architectures.measure", "infwidth.data.digits"],
    [VARIANTS[name] for name in SETTINGS.architectures.variants],
)


rule architectures_models:
    """Tunes the variants in one architecture and trains them at all widths and seeds."""
    output:
        f"{ARCHITECTURES}/{{architecture}}.json",
    log:
        f"{LAYOUT.logs}/architectures/{{architecture}}.log",
    wildcard_constraints:
        architecture="|".join(SETTINGS.architectures.architectures),
    conda:
        CONDA
    threads: 1
    resources:
        gpu=1 if GPUS else 0,
    params:
        settings=slice_of("architectures"),
        code=ARCHITECTURES_CODE,
    shell:
        "infwidth architectures --settings {params.settings:q} --architecture {wildcards.architecture}"
        f" --parts {ARCHITECTURES}/parts --out {{output}} 2> {{log}}"


rule architectures:
    """Gathers the losses of all architectures."""
    input:
        expand(
            f"{ARCHITECTURES}/{{architecture}}.json",
            architecture=SETTINGS.architectures.architectures,
        ),
    output:
        MEASURED["architectures"],
    log:
        f"{LAYOUT.logs}/architectures.log",
    conda:
        CONDA
    threads: 1
    resources:
        gpu=1 if GPUS else 0,
    params:
        settings=slice_of("architectures"),
        code=ARCHITECTURES_CODE,
    shell:
        "infwidth architectures --settings {params.settings:q}"
        f" --parts {ARCHITECTURES}/parts --out {LAYOUT.measurements('architectures')} 2> {{log}}"
