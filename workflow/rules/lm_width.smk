# SPDX-License-Identifier: Apache-2.0
#
# The paper's experiment: tune every variant at one width, train it at every width, collect.

JOBS = jobs(SETTINGS.lm_width)
TRAINED = [LAYOUT.trained(variant, widths) for variant, widths in JOBS]
LM_WIDTH = LAYOUT.measurements("lm_width")
TUNED = [LAYOUT.tuning(variant) for variant in SETTINGS.lm_width.variants]


rule tune:
    """Chooses a variant's learning rate on tuning seeds, by validation loss."""
    input:
        f"{LAYOUT.tokens}/manifest.json",
    output:
        f"{LAYOUT.lm_width}/tuning/{{variant}}.json",
    log:
        f"{LAYOUT.logs}/tune/{{variant}}.log",
    wildcard_constraints:
        variant="[a-z0-9_]+",
    conda:
        CONDA
    threads: 1
    resources:
        gpu=GPUS_A_RUN,
    params:
        launcher=support.launcher,
        settings=slice_of("tune"),
        code=lambda wildcards: run_code_digest(VARIANTS[wildcards.variant]),
        study=plan_digest(["infwidth.experiments.lm_width.measure.tune"]),
    shell:
        f"{{params.launcher}}infwidth tune --settings {{params.settings:q}} --variant {{wildcards.variant}}"
        f" --tokens $(dirname {{input}}) --runs {LAYOUT.runs} --out {{output}} 2> {{log}}"


rule train_widths:
    """Trains a variant at some widths with its chosen rate, on every reporting seed."""
    input:
        tokens=f"{LAYOUT.tokens}/manifest.json",
        selection=f"{LAYOUT.lm_width}/tuning/{{variant}}.json",
    output:
        f"{LAYOUT.lm_width}/train/{{variant}}-{{widths}}.json",
    log:
        f"{LAYOUT.logs}/train/{{variant}}-{{widths}}.log",
    wildcard_constraints:
        variant="[a-z0-9_]+",
        widths="[0-9_]+",
    conda:
        CONDA
    threads: 1
    resources:
        gpu=GPUS_A_RUN,
    params:
        launcher=support.launcher,
        settings=slice_of("train"),
        code=lambda wildcards: run_code_digest(VARIANTS[wildcards.variant]),
        study=plan_digest(["infwidth.experiments.lm_width.plan.report_places"]),
    shell:
        f"{{params.launcher}}infwidth train --settings {{params.settings:q}} --variant {{wildcards.variant}}"
        f" --widths {{wildcards.widths}} --tokens $(dirname {{input.tokens}}) --runs {LAYOUT.runs}"
        f" --selection {{input.selection}} --out {{output}} 2> {{log}}"


rule collect:
    """Gathers the losses of all runs into tidy tables."""
    input:
        tokens=f"{LAYOUT.tokens}/manifest.json",
        tuned=TUNED,
        trained=TRAINED,
    output:
        MEASURED["lm_width"],
    log:
        f"{LAYOUT.logs}/collect.log",
    conda:
        CONDA
    params:
        settings=slice_of("collect"),
        code=code_digest(["infwidth.experiments.lm_width.collect"]),
    shell:
        "infwidth collect --settings {params.settings:q} --tokens $(dirname {input.tokens})"
        f" --runs {LAYOUT.runs} --out {LM_WIDTH}"
        " --tuning {input.tuned} --trained {input.trained} 2> {log}"
