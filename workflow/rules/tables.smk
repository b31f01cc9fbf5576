# One rule a table, named as the paper's artifact names it.


for _table, _module in TABLES.items():

    rule:
        name:
            _table
        input:
            rules.collect.output,
        output:
            multiext(f"{LAYOUT.tables}/{_table}", ".csv", ".md", ".tex"),
        log:
            f"{LAYOUT.logs}/{_table}.log",
        conda:
            CONDA
        params:
            code=code_digest([_module, "infwidth.analysis.tables.write"]),
            table=_table,
        shell:
            f"infwidth table {{params.table}} --measurements {LAYOUT.measurements} --out {LAYOUT.tables} 2> {{log}}"
