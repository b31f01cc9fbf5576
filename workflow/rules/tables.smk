# One rule a table, named as the paper's artifact names it.


for _table, _module in TABLES.items():

    rule:
        name:
            _table
        input:
            rules.collect.output,
        output:
            multiext(f"{LAYOUT.tables}/{_table}", ".csv", ".md", ".tex"),
        params:
            code=code_digest([_module]),
            table=_table,
        log:
            f"{LAYOUT.logs}/{_table}.log",
        conda:
            CONDA
        shell:
            "infwidth table {params.table} --measurements $(dirname {input[0]})"
            f" --out {LAYOUT.tables}/{{params.table}} 2> {{log}}"
