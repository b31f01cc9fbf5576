# SPDX-License-Identifier: Apache-2.0
#
# `snakemake publish` brings everything up to date, then copies it to where it is committed. The
# copies are no output of the rule: they would look as if they were done in every fresh clone.


rule publish:
    """Brings all of it up to date and copies it to results/published, to be committed."""
    input:
        rules.figures.input,
        rules.tables.input,
        rules.claims.output,
    log:
        f"{LAYOUT.logs}/publish.log",
    localrule: True
    conda:
        CONDA
    params:
        settings=slice_of("publish"),
    shell:
        "infwidth publish --settings {params.settings:q} 2> {log}"
