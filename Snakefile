# SPDX-License-Identifier: Apache-2.0
#
# snakemake --cores all regenerates every table and figure of this artifact; -n shows the plan.
# The workflow itself is workflow/Snakefile. Its default target is not that of a file which includes
# it, so one is named here. (No backticks: Google Batch's executor has a shell copy this.)


include: "workflow/Snakefile"


rule reproduce:
    """The default: makes every figure and table, and judges every claim."""
    default_target: True
    input:
        rules.all.input,
