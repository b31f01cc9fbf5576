# Which part of the optimizer closes the gap, and where: a job an arm (a variant in a context), then
# the table. The context of the other vocabulary has tokens of its own.

from infwidth.experiments.optimizer_ablation_plan import jobs as ablation_jobs

ABLATION = LAYOUT.results / "optimizer_ablation"
ABLATION_JOBS = ablation_jobs(SETTINGS.optimizer_ablation)
MEASURED["optimizer_ablation"] = [
    f"{LAYOUT.measurements('optimizer_ablation')}/{name}"
    for name in ("runs.parquet", "settings.json")
]


use rule vocabulary as other_vocabulary with:
    output:
        f"{LAYOUT.other_vocabulary}/vocabulary.json",
    log:
        f"{LAYOUT.logs}/other_vocabulary.log",
    params:
        settings=support.slice_of(
            support.with_other_vocabulary(SETTINGS), "data vocabulary"
        ),
        code=code_digest(["infwidth.data.vocabulary"]),


use rule tokenize as other_tokenize with:
    input:
        corpus=f"{LAYOUT.corpus}/manifest.json",
        vocabulary=f"{LAYOUT.other_vocabulary}/vocabulary.json",
    output:
        f"{LAYOUT.other_tokens}/manifest.json",
    log:
        f"{LAYOUT.logs}/other_tokenize.log",


def ablation_tokens(wildcards):
    """The tokens that a job's arms read."""
    other = ABLATION_JOBS[wildcards.job][0].other_vocabulary
    return f"{LAYOUT.other_tokens if other else LAYOUT.tokens}/manifest.json"


rule optimizer_ablation_train:
    """Tunes each arm of a job by itself and trains it on the reporting seeds."""
    input:
        ablation_tokens,
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
        gpu=1 if GPUS else 0,
    params:
        settings=slice_of("optimizer_ablation train"),
        arms=lambda wildcards: [arm.name for arm in ABLATION_JOBS[wildcards.job]],
        code=lambda wildcards: [
            run_code_digest(ALL_VARIANTS[arm.variant])
            for arm in ABLATION_JOBS[wildcards.job]
        ],
        study=code_digest(["infwidth.experiments.optimizer_ablation"]),
    shell:
        "infwidth optimizer_ablation train --settings {params.settings:q} --arms {params.arms}"
        f" --tokens $(dirname {{input}}) --runs {LAYOUT.runs} --out {{output}} 2> {{log}}"


rule optimizer_ablation:
    """Gathers the losses of all arms."""
    input:
        expand(f"{ABLATION}/parts/{{job}}.json", job=ABLATION_JOBS),
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
                "infwidth.experiments.optimizer_ablation",
                "infwidth.experiments.recording",
            ]
        ),
    shell:
        "infwidth optimizer_ablation collect --settings {params.settings:q} --parts {input}"
        f" --runs {LAYOUT.runs} --out {LAYOUT.measurements('optimizer_ablation')} 2> {{log}}"
