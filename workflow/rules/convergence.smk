# SPDX-License-Identifier: Apache-2.0
#
# Finite models against the exact infinite one: a job trains one rule's models, one compares all.

from infwidth.experiments.convergence.settings import RULES

CONVERGENCE = LAYOUT.results / "convergence"
MEASURED["convergence"] = [
    f"{LAYOUT.measurements('convergence')}/{name}"
    for name in (
        "curves.parquet",
        "limits.parquet",
        "products.parquet",
        "gaps.parquet",
        "settings.json",
    )
]


rule convergence_models:
    """Trains the finite models of one rule, at all widths and seeds."""
    output:
        f"{CONVERGENCE}/{{optimizer}}.json",
    log:
        f"{LAYOUT.logs}/convergence/{{optimizer}}.log",
    wildcard_constraints:
        optimizer="|".join(RULES),
    conda:
        CONDA
    threads: 1
    resources:
        gpu=1 if GPUS else 0,
    params:
        settings=slice_of("convergence"),
        code=code_digest(["infwidth.experiments.convergence.measure", "infwidth.data.digits"]),
    shell:
        "infwidth convergence --settings {params.settings:q} --rule {wildcards.optimizer}"
        f" --parts {CONVERGENCE}/parts --out {{output}} 2> {{log}}"


rule convergence:
    """Compares the models of all rules with their limits and with each other."""
    input:
        expand(f"{CONVERGENCE}/{{optimizer}}.json", optimizer=RULES),
    output:
        MEASURED["convergence"],
    log:
        f"{LAYOUT.logs}/convergence.log",
    conda:
        CONDA
    threads: 1
    resources:
        gpu=1 if GPUS else 0,
    params:
        settings=slice_of("convergence"),
        code=code_digest(["infwidth.experiments.convergence.measure", "infwidth.data.digits"]),
    shell:
        "infwidth convergence --settings {params.settings:q}"
        f" --parts {CONVERGENCE}/parts --out {LAYOUT.measurements('convergence')} 2> {{log}}"
