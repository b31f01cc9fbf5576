# SPDX-License-Identifier: Apache-2.0
#
# Which part of the optimizer closes the gap, and where: a job an arm (a variant in a context), then
# the table. The context of the other vocabulary has tokens of its own.

from infwidth.experiments.optimizer_ablation.plan import (
    asked_of,
    jobs as ablation_jobs,
    tuned_before,
)

ABLATION = LAYOUT.results / "optimizer_ablation"
ABLATION_JOBS = ablation_jobs(SETTINGS.optimizer_ablation)
ABLATION_TOKENS = {
    job: LAYOUT.other_tokens if some[0].other_vocabulary else LAYOUT.tokens
    for job, some in ABLATION_JOBS.items()
}


rule optimizer_ablation_train:
    """Tunes each arm of a job by itself and trains it on the reporting seeds."""
    input:
        tokens=lambda wildcards: f"{ABLATION_TOKENS[wildcards.job]}/manifest.json",
        before=lambda wildcards: [
            f"{ABLATION}/parts/{job}.json"
            for job in tuned_before(wildcards.job, SETTINGS)
        ],
    output:
        f"{ABLATION}/parts/{{job}}.json",
    log:
        f"{LAYOUT.logs}/optimizer_ablation/{{job}}.log",
    wildcard_constraints:
        job="[a-z0-9_-]+",
    # What the paper's experiment trains, too, is found here if that comes first.
    priority: -1
    conda:
        CONDA
    threads: 1
    resources:
        gpu=GPUS_A_RUN,
    params:
        launcher=support.launcher,
        settings=slice_of("optimizer_ablation train"),
        arms=lambda wildcards: [arm.name for arm in ABLATION_JOBS[wildcards.job]],
        contexts=lambda wildcards: [
            asked_of(arm, SETTINGS) for arm in ABLATION_JOBS[wildcards.job]
        ],
        code=lambda wildcards: [
            run_code_digest(ALL_VARIANTS[arm.variant])
            for arm in ABLATION_JOBS[wildcards.job]
        ],
        study=plan_digest(["infwidth.experiments.optimizer_ablation.measure.run_arm"]),
    shell:
        "{params.launcher}infwidth optimizer_ablation train --settings {params.settings:q} --arms {params.arms}"
        f" --tokens $(dirname {{input.tokens}}) --runs {LAYOUT.runs} --out {{output}} 2> {{log}}"


rule optimizer_ablation:
    """Gathers the losses of all arms."""
    input:
        tokens=f"{LAYOUT.tokens}/manifest.json",
        parts=expand(f"{ABLATION}/parts/{{job}}.json", job=ABLATION_JOBS),
    output:
        MEASURED["optimizer_ablation"],
    log:
        f"{LAYOUT.logs}/optimizer_ablation/collect.log",
    conda:
        CONDA
    params:
        settings=slice_of("optimizer_ablation collect"),
        code=code_digest(
            [
                "infwidth.experiments.optimizer_ablation.measure.gather",
                "infwidth.experiments.optimizer_ablation.measure.selections",
                "infwidth.experiments.recording",
            ]
        ),
    shell:
        "infwidth optimizer_ablation collect --settings {params.settings:q} --parts {input.parts}"
        " --tokens $(dirname {input.tokens})"
        f" --runs {LAYOUT.runs} --out {LAYOUT.measurements('optimizer_ablation')} 2> {{log}}"
