# snakemake --cores all regenerates every table and figure of the paper; -n shows the plan.
# The workflow itself is workflow/Snakefile. (No backticks: Google Batch's executor has a shell copy this.)


include: "workflow/Snakefile"


rule all:
    default_target: True
    input:
        rules.figures.input,
        rules.tables.input,
        rules.claims.output,
