# SPDX-License-Identifier: Apache-2.0
#
# The infinite-width transformer against finite widths: a job a variant, then the tables.

INFINITE_LM = LAYOUT.results / "infinite_lm"


rule infinite_lm_train:
    """Tunes a variant and trains it at every width, where it keeps a kernel at infinite width, too."""
    input:
        f"{LAYOUT.tokens}/manifest.json",
    output:
        f"{INFINITE_LM}/parts/{{variant}}.json",
    log:
        f"{LAYOUT.logs}/infinite_lm/{{variant}}.log",
    wildcard_constraints:
        variant="[a-z0-9_]+",
    conda:
        CONDA
    threads: 1
    resources:
        gpu=1 if GPUS else 0,
    params:
        settings=slice_of("infinite_lm train"),
        code=lambda wildcards: run_code_digest(VARIANTS[wildcards.variant]),
        infinite=lambda wildcards: (
            run_code_digest(VARIANTS[wildcards.variant], infinite=True)
            if wildcards.variant in SETTINGS.infinite_lm.infinite_variants
            else None
        ),
        study=plan_digest(
            [
                "infwidth.experiments.infinite_lm.measure.run_variant",
                "infwidth.experiments.infinite_lm.plan",
            ]
        ),
    shell:
        f"infwidth infinite_lm train --settings {{params.settings:q}} --variant {{wildcards.variant}}"
        f" --tokens $(dirname {{input}}) --runs {LAYOUT.runs} --out {{output}} 2> {{log}}"


rule infinite_lm:
    """Gathers the losses and loss curves of finite and infinite models."""
    input:
        tokens=f"{LAYOUT.tokens}/manifest.json",
        parts=expand(
            f"{INFINITE_LM}/parts/{{variant}}.json",
            variant=SETTINGS.infinite_lm.variants,
        ),
    output:
        MEASURED["infinite_lm"],
    log:
        f"{LAYOUT.logs}/infinite_lm/collect.log",
    conda:
        CONDA
    params:
        settings=slice_of("infinite_lm collect"),
        code=code_digest(
            [
                "infwidth.experiments.infinite_lm.measure.gather",
                "infwidth.experiments.recording",
            ]
        ),
    shell:
        f"infwidth infinite_lm collect --settings {{params.settings:q}} --parts {{input.parts}}"
        f" --tokens $(dirname {{input.tokens}}) --runs {LAYOUT.runs} --out {LAYOUT.measurements('infinite_lm')} 2> {{log}}"
