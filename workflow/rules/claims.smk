# SPDX-License-Identifier: Apache-2.0
#
# Every claim judged by its rule; a mistake in the rules ends the workflow before anything runs.

# The file of the folder it runs in; a workflow that takes this one as a module need not have one.
CLAIM_RULES = CLAIMS if CLAIMS.exists() else support.own_file(workflow, CLAIMS)
RULES = support.or_exit(read_claims, Path(CLAIM_RULES))
# The experiments that the claims ask for and that this configuration covers.
ASKED = [
    name
    for name in dict.fromkeys(claim.experiment for claim in RULES.claims)
    if name in SETTINGS.experiments
]
MEASURED["claims"] = [f"{LAYOUT.results}/claims.json"]


rule claims:
    """Judges every claim by its rule, from what the experiments measured."""
    input:
        rules=support.known([CLAIM_RULES]),
        measured=[path for name in ASKED for path in MEASURED[name]],
    output:
        MEASURED["claims"],
        page=f"{LAYOUT.results}/claims.md",
    log:
        f"{LAYOUT.logs}/claims.log",
    conda:
        CONDA
    params:
        settings=slice_of("claims"),
        code=support.with_unknown(
            code_digest(
                [
                    "infwidth.analysis.claims_judge",
                    "infwidth.analysis.claims_page",
                    *map(reader, ASKED),
                    *map(effects_module, ASKED),
                ]
            ),
            [CLAIM_RULES],
        ),
        rules=lambda wildcards: str(CLAIM_RULES),
        measured=[f"--measured {name}={LAYOUT.measurements(name)}" for name in ASKED],
    shell:
        "infwidth claims --settings {params.settings:q} --rules {params.rules:q} {params.measured}"
        f" --figures {LAYOUT.figures} --tables {LAYOUT.tables} --out {LAYOUT.results} 2> {{log}}"
