# SPDX-License-Identifier: Apache-2.0
#
# Every experiment: a job a part, then one that makes the tables.
# A part of a study is a variant in a condition at a width.

# By name the jobs of a study and their priorities; made when they are asked for, since of no other
# study need the settings fit.
study_jobs = cache(lambda study: support.or_exit(jobs_of, study, SETTINGS))
study_priorities = cache(lambda study: priorities(study, SETTINGS))
job_of = lambda wildcards: study_jobs(wildcards.study)[wildcards.job]
tokens_in = lambda vocabulary: (
    LAYOUT.tokens if vocabulary == SETTINGS.data.vocabulary else LAYOUT.other_tokens
)
code_of_job = lambda job: [
    run_code_digest(ALL_VARIANTS[part.variant], infinite)
    for part in job.parts
    for infinite in {width is None for _, width in part.reports} | {False}
]
parts_in = lambda study, jobs: [LAYOUT.part(study, job) for job in jobs]


rule measure:
    """Tunes the parts of a job, each by itself, and trains them on the reporting seeds."""
    input:
        tokens=lambda wildcards: f"{tokens_in(job_of(wildcards).parts[0].vocabulary)}/manifest.json",
    output:
        f"{LAYOUT.results}/{{study}}/parts/{{job}}.json",
    log:
        f"{LAYOUT.logs}/{{study}}/{{job}}.log",
    wildcard_constraints:
        study="|".join(
            name for name in IN_PARTS if name not in ("lm_width", "infinite_lm")
        ),
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
        code=lambda wildcards: code_of_job(job_of(wildcards)),
        study=plan_digest(
            [
                "infwidth.experiments.runs.tune_part",
                "infwidth.experiments.runs.report_part",
            ]
        ),
    shell:
        "{params.launcher}infwidth measure {wildcards.study} --part {wildcards.job}"
        " --settings {params.settings:q} --tokens $(dirname {input.tokens})"
        f" --runs {LAYOUT.runs} --out {{output}} 2> {{log}}"


# A model of infinite width is not split among devices.
use rule measure as infinite_lm_train with:
    wildcard_constraints:
        study="infinite_lm",
        job="[a-z0-9_-]+",
    resources:
        gpu=1 if GPUS else 0,
    params:
        launcher="",


rule gather:
    """Gathers the losses and loss curves of an experiment's parts."""
    input:
        tokens=f"{LAYOUT.tokens}/manifest.json",
        parts=lambda wildcards: parts_in(wildcards.study, study_jobs(wildcards.study)),
    output:
        [f"{LAYOUT.measurements('{study}')}/{table}.parquet" for table in STUDY],
        f"{LAYOUT.measurements('{study}')}/settings.json",
    log:
        f"{LAYOUT.logs}/{{study}}/gather.log",
    wildcard_constraints:
        study="|".join(STUDIES) + "|infinite_lm",
    conda:
        CONDA
    params:
        settings=lambda wildcards: slice_of(f"gather {wildcards.study}"),
        code=lambda wildcards: code_digest(
            [
                "infwidth.experiments.runs.gather",
                "infwidth.experiments.parts.write_measurements",
                module(wildcards.study, "plan"),
            ]
        ),
    shell:
        "infwidth gather {wildcards.study} --settings {params.settings:q} --parts {input.parts}"
        f" --tokens $(dirname {{input.tokens}}) --runs {LAYOUT.runs} --out {LAYOUT.measurements('{wildcards.study}')} 2> {{log}}"


# Of these no curves are kept.
use rule gather as gather_runs with:
    output:
        f"{LAYOUT.measurements('{study}')}/runs.parquet",
        f"{LAYOUT.measurements('{study}')}/settings.json",
    wildcard_constraints:
        study="optimizer_ablation|width_limit",


for _bench in BENCHES:
    _parts = support.parts_of_bench(_bench, SETTINGS)
    _kept = f"{LAYOUT.results}/{_bench}/parts"
    if _parts:

        rule:
            """Tunes and trains the models of one part, at all widths and seeds."""
            name:
                f"{_bench}_models"
            output:
                f"{_kept}/{{part}}.json",
            log:
                f"{LAYOUT.logs}/{_bench}/{{part}}.log",
            wildcard_constraints:
                part="|".join(_parts),
            conda:
                CONDA
            threads: 1
            resources:
                gpu=1 if GPUS else 0,
            params:
                # The command is put together when the job runs, after this loop has ended.
                experiment=_bench,
                settings=slice_of(f"gather {_bench}"),
                code=support.code_of_bench(_bench, SETTINGS),
            shell:
                "infwidth measure {params.experiment} --part {wildcards.part}"
                f" --settings {{params.settings:q}} --runs {LAYOUT.results}/{{params.experiment}}/parts --out {{output}} 2> {{log}}"

    rule:
        """Measures what is not yet measured of an experiment, and makes its tables."""
        name:
            _bench
        input:
            [f"{_kept}/{part}.json" for part in _parts],
        output:
            MEASURED[_bench][:-1],
            settings=MEASURED[_bench][-1],
        log:
            f"{LAYOUT.logs}/{_bench}.log",
        conda:
            CONDA
        threads: 1
        resources:
            gpu=1 if GPUS else 0,
        params:
            experiment=_bench,
            settings=slice_of(f"gather {_bench}"),
            code=support.code_of_bench(_bench, SETTINGS),
        shell:
            "infwidth gather {params.experiment} --settings {params.settings:q}"
            f" --runs {LAYOUT.results}/{{params.experiment}}/parts --out $(dirname {{output.settings}}) 2> {{log}}"
