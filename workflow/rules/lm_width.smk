# SPDX-License-Identifier: Apache-2.0
#
# The paper's experiment: tune every variant at every width, train it there, collect.

tuned_in = lambda wildcards: [
    LAYOUT.tuning(name)
    for name, job in study_jobs("lm_width").items()
    if {part.name for part in job.parts}
    & {
        name
        for part in study_jobs("lm_width")[wildcards.job].parts
        for name in (part.name, part.reference)
    }
]


rule tune:
    """Chooses the learning rate of a variant at a width on tuning seeds, by validation loss."""
    input:
        f"{LAYOUT.tokens}/manifest.json",
    output:
        LAYOUT.tuning("{job}"),
    log:
        f"{LAYOUT.logs}/tune/{{job}}.log",
    wildcard_constraints:
        job="[a-z0-9_-]+",
    conda:
        CONDA
    threads: 1
    resources:
        gpu=GPUS_A_RUN,
    params:
        launcher=support.launcher,
        settings=lambda wildcards: study_jobs("lm_width")[wildcards.job]
        .for_tuning()
        .model_dump_json(),
        code=lambda wildcards: code_of_job(study_jobs("lm_width")[wildcards.job]),
        study=plan_digest(["infwidth.experiments.runs.tune_part"]),
    shell:
        "{params.launcher}infwidth tune --part {wildcards.job} --settings {params.settings:q}"
        f" --tokens $(dirname {{input}}) --runs {LAYOUT.runs} --out {{output}} 2> {{log}}"


rule train_widths:
    """Trains a variant at a width with its chosen rate, on every reporting seed."""
    input:
        tokens=f"{LAYOUT.tokens}/manifest.json",
        tuned=tuned_in,
    output:
        LAYOUT.part("lm_width", "{job}"),
    log:
        f"{LAYOUT.logs}/train/{{job}}.log",
    wildcard_constraints:
        job="[a-z0-9_-]+",
    conda:
        CONDA
    threads: 1
    resources:
        gpu=GPUS_A_RUN,
    params:
        launcher=support.launcher,
        settings=lambda wildcards: study_jobs("lm_width")[
            wildcards.job
        ].model_dump_json(),
        code=lambda wildcards: code_of_job(study_jobs("lm_width")[wildcards.job]),
        study=plan_digest(["infwidth.experiments.runs.report_part"]),
    shell:
        "{params.launcher}infwidth train --part {wildcards.job} --settings {params.settings:q}"
        " --tokens $(dirname {input.tokens}) --tuned {input.tuned}"
        f" --runs {LAYOUT.runs} --out {{output}} 2> {{log}}"


use rule gather as collect with:
    output:
        [
            f"{LAYOUT.measurements('{study}')}/{table}.parquet"
            for table in schemas("lm_width")
        ],
        f"{LAYOUT.measurements('{study}')}/settings.json",
    log:
        f"{LAYOUT.logs}/{{study}}/collect.log",
    wildcard_constraints:
        study="lm_width",
