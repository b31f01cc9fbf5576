# SPDX-License-Identifier: Apache-2.0
#
# Losses over width, extrapolated: lm_width's runs at more widths, and the NTK parametrization.

WIDTH_LIMIT = LAYOUT.results / "width_limit"
NTK_ARM = f"{WIDTH_LIMIT}/ntk"


rule width_limit_tune:
    """Chooses the rates of the unfrozen model in the NTK parametrization, as `tune` does."""
    input:
        f"{LAYOUT.tokens}/manifest.json",
    output:
        f"{NTK_ARM}/tuning.json",
    log:
        f"{LAYOUT.logs}/width_limit/tune.log",
    conda:
        CONDA
    threads: 1
    resources:
        gpu=GPUS_A_RUN,
    params:
        launcher=support.launcher,
        settings=slice_of("width_limit tune"),
        code=run_code_digest(VARIANTS[REFERENCE]),
        study=plan_digest(
            [
                "infwidth.experiments.lm_width.measure.tune",
                "infwidth.experiments.width_limit.plan.ntk_model",
            ]
        ),
    shell:
        "{params.launcher}infwidth width_limit tune --settings {params.settings:q}"
        f" --tokens $(dirname {{input}}) --runs {LAYOUT.runs} --out {{output}} 2> {{log}}"


rule width_limit_train:
    """Trains the unfrozen model in the NTK parametrization at some widths."""
    input:
        tokens=f"{LAYOUT.tokens}/manifest.json",
        selection=f"{NTK_ARM}/tuning.json",
    output:
        f"{NTK_ARM}/{{widths}}.json",
    log:
        f"{LAYOUT.logs}/width_limit/{{widths}}.log",
    wildcard_constraints:
        widths="[0-9_]+",
    conda:
        CONDA
    threads: 1
    resources:
        gpu=GPUS_A_RUN,
    params:
        launcher=support.launcher,
        settings=slice_of("width_limit train"),
        code=run_code_digest(VARIANTS[REFERENCE]),
        study=plan_digest(
            [
                "infwidth.experiments.width_limit.plan.ntk_model",
                "infwidth.experiments.width_limit.plan.ntk_places",
            ]
        ),
    shell:
        "{params.launcher}infwidth width_limit train --settings {params.settings:q} --widths {wildcards.widths}"
        f" --tokens $(dirname {{input.tokens}}) --runs {LAYOUT.runs}"
        " --selection {input.selection} --out {output} 2> {log}"


rule width_limit:
    """Gathers the losses over width, and those of models whose limit is known."""
    input:
        tokens=f"{LAYOUT.tokens}/manifest.json",
        tuning=[LAYOUT.tuning(name) for name in SETTINGS.width_limit.variants],
        trained=[
            LAYOUT.trained(variant, widths)
            for variant, widths in mean_field_jobs(
                SETTINGS.lm_width, SETTINGS.width_limit
            )
        ],
        selection=f"{NTK_ARM}/tuning.json",
        ntk=[
            f"{NTK_ARM}/{widths}.json"
            for widths in ntk_jobs(SETTINGS.lm_width, SETTINGS.width_limit)
        ],
        known=expand(
            f"{INFINITE_LM}/parts/{{variant}}.json",
            variant=SETTINGS.infinite_lm.infinite_variants,
        ),
    output:
        MEASURED["width_limit"],
    log:
        f"{LAYOUT.logs}/width_limit/collect.log",
    conda:
        CONDA
    params:
        settings=slice_of("width_limit collect"),
        code=code_digest(
            [
                "infwidth.experiments.width_limit.measure",
                "infwidth.experiments.recording",
            ]
        ),
    shell:
        "infwidth width_limit collect --settings {params.settings:q}"
        " --tuning {input.tuning} --trained {input.trained}"
        " --selection {input.selection} --ntk {input.ntk} --known {input.known}"
        f" --tokens $(dirname {{input.tokens}}) --runs {LAYOUT.runs}"
        f" --out {LAYOUT.measurements('width_limit')} 2> {{log}}"
