# SPDX-License-Identifier: Apache-2.0
#
# Every experiment that is a folder of infwidth.experiments, by two rules: a job a part (a variant in a
# condition at a width), then the tables. A target is named as each of them.

STUDY_FILES = [*(f"{table}.parquet" for table in STUDY_TABLES), "settings.json"]
for _study in STUDIES:
    MEASURED[_study] = [f"{LAYOUT.measurements(_study)}/{file}" for file in STUDY_FILES]


# By name the jobs of a study and their priorities; made when they are asked for, since of no other
# study need the settings fit.
study_jobs = cache(lambda study: support.or_exit(jobs_of, study, SETTINGS))
study_priorities = cache(lambda study: priorities(study, SETTINGS))
job_of = lambda wildcards: study_jobs(wildcards.study)[wildcards.job]
tokens_in = lambda vocabulary: (
    LAYOUT.tokens if vocabulary == SETTINGS.data.vocabulary else LAYOUT.other_tokens
)


rule measure:
    """Tunes the parts of a job, each by itself, and trains them on the reporting seeds."""
    input:
        lambda wildcards: f"{tokens_in(job_of(wildcards).parts[0].vocabulary)}/manifest.json",
    output:
        f"{LAYOUT.results}/{{study}}/parts/{{job}}.json",
    log:
        f"{LAYOUT.logs}/{{study}}/{{job}}.log",
    wildcard_constraints:
        study="|".join(STUDIES),
        job="[a-z0-9_-]+",
    # What is cheap comes first; what other experiments train, too, is found here.
    priority: lambda wildcards: study_priorities(wildcards.study)[wildcards.job]
    conda:
        CONDA
    threads: 1
    resources:
        gpu=GPUS_A_RUN,
    params:
        launcher=support.launcher,
        settings=lambda wildcards: job_of(wildcards).model_dump_json(),
        code=lambda wildcards: [
            run_code_digest(ALL_VARIANTS[part.variant])
            for part in job_of(wildcards).parts
        ],
        study=plan_digest(["infwidth.experiments.runs.run_part"]),
    shell:
        "{params.launcher}infwidth measure {wildcards.study} --part {wildcards.job}"
        " --settings {params.settings:q} --tokens $(dirname {input})"
        f" --runs {LAYOUT.runs} --out {{output}} 2> {{log}}"


rule gather:
    """Gathers the losses and loss curves of a study's parts."""
    input:
        tokens=f"{LAYOUT.tokens}/manifest.json",
        parts=lambda wildcards: [
            f"{LAYOUT.results}/{wildcards.study}/parts/{job}.json"
            for job in study_jobs(wildcards.study)
        ],
    output:
        [f"{LAYOUT.measurements('{study}')}/{file}" for file in STUDY_FILES],
    log:
        f"{LAYOUT.logs}/{{study}}/gather.log",
    wildcard_constraints:
        study="|".join(STUDIES),
    conda:
        CONDA
    params:
        settings=lambda wildcards: slice_of(f"gather {wildcards.study}"),
        code=lambda wildcards: code_digest(
            [
                "infwidth.experiments.runs.gather",
                "infwidth.experiments.runs.selections",
                "infwidth.experiments.recording",
                module(wildcards.study, "plan"),
            ]
        ),
    shell:
        "infwidth gather {wildcards.study} --settings {params.settings:q} --parts {input.parts}"
        f" --tokens $(dirname {{input.tokens}}) --runs {LAYOUT.runs} --out {LAYOUT.measurements('{wildcards.study}')} 2> {{log}}"
